"""Tests of `bench/commands/`."""
