"""Defects of official code: each computed in plain operations, and compared with both variants of its method."""
