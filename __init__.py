"""mcr-bench: a fair comparison of balancing methods for multimodal training."""

from pathlib import Path

from mcr_bench.bench.core.import_guard import hide_from_others

__version__ = "0.2.0"

hide_from_others(Path(__file__).parent)
