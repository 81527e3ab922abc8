"""What is the same for every method and every dataset."""
