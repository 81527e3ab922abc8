"""Balancing methods, one small file each; a file here is registered by being here."""
