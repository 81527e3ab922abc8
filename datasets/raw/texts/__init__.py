"""Pictures with texts: official folders and lists, words and their codes, and how a pair becomes a row of a cache."""
