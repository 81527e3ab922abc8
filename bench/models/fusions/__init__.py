"""Fusion heads, one per file, registered by being a file here: each declares its `KIND`."""
