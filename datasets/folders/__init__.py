"""Folders of array files and media that a dataset.toml describes: read as one .npz is, and made from other datasets."""
