"""The parts from which adapters of media are built: ClipDataset, recipes, and views of frames and sound."""

from mcr_bench.datasets.cache.recipe import Clip, Field, Recipe, Scan
from mcr_bench.datasets.clips.dataset import ClipDataset, Rule, Variant
from mcr_bench.datasets.clips.rows import Plain, View

__all__ = ["Clip", "ClipDataset", "Field", "Plain", "Recipe", "Rule", "Scan", "Variant", "View"]
