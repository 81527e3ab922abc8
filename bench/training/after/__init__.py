"""What is done once a run is trained: diagnostics of the tested model, its costs, and how it was computed."""
