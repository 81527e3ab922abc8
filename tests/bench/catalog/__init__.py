"""Tests of `bench/catalog/`."""
