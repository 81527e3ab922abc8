"""Tests of `datasets/sequences/`."""
