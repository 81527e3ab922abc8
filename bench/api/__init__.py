"""The Python interface: comparisons, the record and cards as objects, and methods in loops of the user's own."""
