"""Classifiers with rows of unit length, and the radius within which what they decide is certified."""
