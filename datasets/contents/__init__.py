"""What the arrays of a file are: inputs, labels, groups, parts, and what is odd about them."""
