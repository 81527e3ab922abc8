"""mcr-bench: a fair comparison of balancing methods for multimodal training."""

__version__ = "0.1.0"
