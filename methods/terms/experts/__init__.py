"""Whole unimodal models that predict beside a joint one, and the product of all their distributions."""
