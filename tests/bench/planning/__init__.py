"""Tests of `bench/planning/`."""
