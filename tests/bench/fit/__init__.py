"""Tests of `bench/fit/`."""
