"""The game of modalities that MCR plays: coalitions, what is lost without a modality, and how one is taken away."""
