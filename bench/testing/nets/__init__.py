"""What every encoder and every fusion head must do, whoever wrote it: properties that are checked on small tensors."""
