"""What is learned from: samples in batches and parts, the same for every method and every data set."""
