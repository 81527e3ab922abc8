"""The expected best validation value of each method for every budget: for a search of n random draws."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mcr_bench.bench.tuning.result import KeptSearch, KeptTrial, read_searches, searches_folder

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("dataset", "protocol", "modalities", "preset", "metric", "method", "budget", "expected", "untuned")


def expected_best(values: ArrayLike, higher_is_better: bool) -> NDArray[np.float64]:
    """The expected best of n draws from the empirical distribution of `values` (N,), for n = 1 .. N: (N,).

    With v_1 <= ... <= v_N it is sum_i v_i ((i/N)^n - ((i-1)/N)^n) (Dodge et al., Show Your Work, EMNLP 2019, equation
    4), of negated values if lower is better. nan is a failed draw, which counts as the worst of the others; if all
    failed, the result is nan. The values must be those of random draws, not of settings chosen by hand.

    >>> expected_best([0.5, 0.7], higher_is_better=True)
    array([0.6 , 0.65])
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
    """A table with one row for each search, method and budget n of random draws; empty if there was no search.

    Columns: dataset, protocol, modalities (joined by +), preset (that the search wrote), metric, method, budget,
    expected (the best validation value) and untuned (that of the preset's own settings; nan if that trial failed).
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
