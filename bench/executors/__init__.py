"""Executors: they schedule runs and nothing else."""
