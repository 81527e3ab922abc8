"""Tests of datasets/folders."""
