"""What to know of a plan before it is trained: too few seeds, other versions, runs without `--deterministic`."""
