"""Sequences of text, audio and video features: pickles in the forms of two projects, and their rows of a cache."""
