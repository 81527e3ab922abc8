"""Tests of `bench/record/`."""
