"""Encoders that run stage by stage, with gates between their stages through which modalities act on each other."""
