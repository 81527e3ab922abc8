"""Tests of `datasets/clips/`."""
