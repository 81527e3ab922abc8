"""The record's parts: reading runs, per-sample scores and their cache; `bench/tracking.py` is the one door."""
