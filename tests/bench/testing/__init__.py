"""Tests of `bench/problem/`."""
