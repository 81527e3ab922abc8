"""Tests of `bench/api/`."""
