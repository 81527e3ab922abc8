"""Tables and cards made from the record."""
