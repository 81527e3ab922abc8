"""The one training loop and what it needs: evaluation, probes, optimisers, checkpoints, predictions."""
