"""Small data and ready fits for tests of methods, ours and those of others."""
