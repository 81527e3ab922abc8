"""The properties that every method must have, checked on small data in a second or two."""
