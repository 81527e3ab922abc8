"""Published numbers (committed) and generated tables (not committed)."""
