"""The official folders of datasets: their files, lists and labels, and the decoding of a clip. Imports no torch."""
