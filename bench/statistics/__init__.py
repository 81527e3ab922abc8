"""Statistics of comparisons: arrays or DataFrames in, frozen dataclasses out; nothing of the record, files or rows."""
