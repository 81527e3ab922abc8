"""Files of arrays, read without running anything: npz, pickles, csd, and what other files are."""
