"""Media files become arrays: decoded frames and sound, spectrograms, optical flow."""
