"""Comparisons become tables, text in a terminal, files and one HTML page."""
