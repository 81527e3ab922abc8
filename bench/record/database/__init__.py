"""The file of a local record: read in one snapshot without writing, waited for, and known by its version."""
