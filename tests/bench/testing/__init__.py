"""Tests of `bench/testing/`."""
