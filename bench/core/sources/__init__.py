"""Source code as what it does: which modules a class is made of, and their syntax trees without words and style."""
