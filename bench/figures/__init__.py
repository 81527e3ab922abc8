"""Figures of comparisons: rows and predictions in, matplotlib figures out, in one look."""
