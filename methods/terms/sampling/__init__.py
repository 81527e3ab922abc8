"""What methods that choose the samples of an epoch share: passes over the training part, and orders with drops."""
