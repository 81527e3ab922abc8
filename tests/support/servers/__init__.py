"""Tracking servers that tests start, stop and break, and commands that run against them."""
