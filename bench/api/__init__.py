"""The Python interface: comparisons, the record and cards as objects, for notebooks and scripts."""
