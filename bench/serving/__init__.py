"""Servers of a record as child processes that end with their command: MLflow's pages, and a tracking server."""
