"""Media files into arrays: decoding, spectrograms, optical flow; and batches of frames into what a model sees."""
