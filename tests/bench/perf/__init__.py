"""Tests of `bench/perf/`."""
