"""Tests of `bench/audit/`."""
