"""Rules of released code that depart from their papers, each computed from the words that describe it."""
