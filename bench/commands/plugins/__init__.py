"""The verbs `new` and `check`: plug-ins of a user's own, written as files to start from, and checked."""
