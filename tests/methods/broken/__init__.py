"""Methods with one fault each, for tests of the conformance kit: `PLANTED` says which property must catch which."""
