"""Training in which modalities take turns, and add up what each has learned."""
