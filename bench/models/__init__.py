"""Encoders, fusion heads and the multimodal model."""
