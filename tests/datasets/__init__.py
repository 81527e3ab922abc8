"""Tests of `datasets/`."""
