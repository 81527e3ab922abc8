"""Runs move from record to record, also as one file, and are hidden and brought back."""
