"""Tests of `datasets/formats/`."""
