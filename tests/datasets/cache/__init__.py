"""Tests of `datasets/cache/`."""
