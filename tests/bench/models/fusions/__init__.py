"""Tests of `bench/models/fusions`: the heads of the references, computed a second time by hand."""
