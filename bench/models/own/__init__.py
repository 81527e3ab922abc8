"""Encoders and fusion heads that do not come with the harness: declared from a class, tried before any training."""
