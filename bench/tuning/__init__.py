"""Searches: the same search with the same budget for every method, on validation only."""
