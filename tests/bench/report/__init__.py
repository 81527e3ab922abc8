"""Tests of `bench/report/`."""
