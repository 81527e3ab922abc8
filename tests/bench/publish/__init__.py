"""Tests of `bench/publish/`."""
