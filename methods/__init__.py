"""Balancing methods, one small file each; a file here is registered by being here."""

BASELINE = "ensemble"  # methods are tested against it: what training together has to beat
COST_BASELINE = "joint"  # costs in tables are relative to it
