"""Tests of `bench/settings/`."""
