"""Clips are prepared once, by worker processes, and read by index."""
