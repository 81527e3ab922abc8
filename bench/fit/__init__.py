"""What a method may see of its training: Fit, its meters, an evaluation; and what a method's hooks must return."""
