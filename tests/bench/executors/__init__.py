"""Tests of `bench/executors/`."""
