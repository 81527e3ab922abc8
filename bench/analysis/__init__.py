"""Rows of the record become comparisons, claims, rankings, sweeps, and published numbers beside ours."""
