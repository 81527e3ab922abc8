"""Tests of `bench/core/`."""
