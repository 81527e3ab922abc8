"""What can go wrong around a training: one module per fault, one test per trial; docs/faults.md is made of them."""
