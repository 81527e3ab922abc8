"""Describing and verifying a dataset: what to download, what is prepared, and whether its parts are disjoint."""
