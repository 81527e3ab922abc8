"""Tests of `bench/exchange/`."""
