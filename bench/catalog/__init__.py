"""Names become classes and settings: the registry, presets, dotted settings resolved, a dataset made ready."""
