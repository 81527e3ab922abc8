"""Tests of `bench/runs/`."""
