"""Families of comparisons: p values adjusted so that the family-wise error stays below alpha."""

import numpy as np
from numpy.typing import ArrayLike
from statsmodels.stats.multitest import multipletests

from mcr_bench.bench.statistics.intervals import Array


def holm(p: ArrayLike) -> Array:
    """Holm's step-down adjusted p values (Scandinavian Journal of Statistics, 1979) of p (k,).

    A nan is a comparison that could not be made: it stays nan and does not count in the family.
    ValueError where a p lies outside 0..1.
    """
    raw = np.asarray(p, dtype=np.float64)
    if raw.ndim != 1 or ((raw < 0) | (raw > 1)).any():
        raise ValueError(f"p must be a vector of probabilities, not {raw}")
    adjusted, made = raw.copy(), ~np.isnan(raw)
    if made.any():
        adjusted[made] = multipletests(raw[made], method="holm")[1]
    return adjusted
