"""Verbs of the command line whose options need no name of a method as a default."""
