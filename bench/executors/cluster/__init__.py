"""Runs as tasks of a Ray cluster: what one run takes, what a node does with it, and the process that talks to Ray."""
