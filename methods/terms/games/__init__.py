"""Sets of modalities: the game that MCR plays, what is lost without one, nested sets, and how one is taken away."""
