"""What the verbs do between parsing and printing."""
