"""Checks of what needs a GPU, which `make test-gpu` runs without pytest; a test runs them on the CPU, small."""
