"""Servers of a record that commands start: they answer, and none outlives its command."""
