"""Tests of `datasets/media/`."""
