"""Tests of `bench/analysis/`."""
