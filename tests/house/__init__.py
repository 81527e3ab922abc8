"""Rules about the whole project: floors, words, packaging, documentation."""
