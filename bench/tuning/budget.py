"""Expected best validation value against budget: what a search of n draws would have found, per method."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mcr_bench.bench.tuning.result import KeptSearch, KeptTrial, read_searches, searches_folder

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("dataset", "protocol", "modalities", "preset", "metric", "method", "budget", "expected", "untuned")


def expected_best(values: ArrayLike, higher_is_better: bool) -> NDArray[np.float64]:
    """E[best of n draws from the empirical distribution of `values` (N,)] for n = 1 .. N, shape (N,).

    With v_1 <= ... <= v_N it is sum_i v_i ((i/N)^n - ((i-1)/N)^n) (Dodge et al., Show Your Work, EMNLP 2019, eq. 4);
    where lower is better, of the negated values. NaN is a failed draw and counts as the worst of the others; NaN
    everywhere where all failed. The draws must be random ones of equal standing: settings chosen by hand are none.
    """
    v = np.asarray(values, dtype=np.float64) * (1 if higher_is_better else -1)
    if v.ndim != 1:
        raise ValueError(f"values must have shape (N,), not {v.shape}")
    failed = np.isnan(v)
    if failed.all():
        return v
    v = np.sort(np.where(failed, v[~failed].min(), v))
    share = np.arange(len(v) + 1) / len(v)
    n = np.arange(1, len(v) + 1)[:, None]
    best: NDArray[np.float64] = np.diff(share**n, axis=1) @ v
    return best if higher_is_better else -best


def budget_curves(home: Path) -> "pd.DataFrame":
    """One row per search, method and budget n (random draws, without the preset's own settings); empty without one.

    dataset, protocol, modalities (joined by +), preset (that the search wrote), metric, method, budget, expected (best
    validation value), untuned (validation value of the preset's own settings; NaN where that failed).
    """
    import pandas as pd

    rows = [
        row
        for path in sorted(searches_folder(home).glob("*.json"))
        for search in read_searches(path).values()
        for method, trials in search["methods"].items()
        for row in _rows(search, method, trials)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(search: KeptSearch, method: str, trials: list[KeptTrial]) -> list[dict[str, object]]:
    untuned, *drawn = [np.nan if trial["value"] is None else trial["value"] for trial in trials]
    common: dict[str, object] = {
        "dataset": search["dataset"],
        "protocol": search["protocol"],
        "preset": search["preset"],
        "metric": search["metric"],
        "modalities": "+".join(search["modalities"]),
        "method": method,
        "untuned": untuned,
    }
    curve = expected_best(drawn, search["higher_is_better"])
    return [common | {"budget": n, "expected": float(value)} for n, value in enumerate(curve, start=1)]
