"""What is said of a dataset: what to bring, what is prepared, and whether its parts are apart."""
