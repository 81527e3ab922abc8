"""Who trains the runs of a plan: local worker processes."""
