"""MLflow, written and read in one place, and where a run came from."""
