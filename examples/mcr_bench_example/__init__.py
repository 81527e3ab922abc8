"""A method, a dataset, an encoder and a fusion head for mcr-bench: one file each, offered by entry points."""
