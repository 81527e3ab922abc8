"""Tests of `bench/models/`."""
