"""What methods that choose the samples of an epoch share: orders with drops, and which samples exchange modalities."""
