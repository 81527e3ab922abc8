"""What every dataset must do, whoever wrote it: properties that are checked on the data as runs load it."""
