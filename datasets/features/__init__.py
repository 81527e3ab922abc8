"""Sets that are published as arrays of samples: their files, checked, and how a sample becomes a row of a cache."""
