"""Who trains the runs of a plan: the contract of an executor, what all share, and local worker processes."""
