"""Tests of `datasets/contents/`."""
