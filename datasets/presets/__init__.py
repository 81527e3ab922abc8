"""Presets: one TOML file per dataset."""
