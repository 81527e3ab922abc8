"""Tests of `bench/tuning/`."""
