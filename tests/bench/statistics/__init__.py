"""Tests of `bench/statistics/`."""
