"""Diagnostics describe a run without being its result: one that cannot be computed is missing, with a reason."""

import json
import math
from collections.abc import Callable, Mapping
from typing import TypeVar

from mcr_bench.bench.core.guard import attempt
from mcr_bench.bench.errors import one_line

T = TypeVar("T")
TAG = "missing"
LONGEST = 200  # characters of a reason
LONGEST_TAG = 8000  # characters that MLflow takes
NOT_FINITE = "its value is "  # begins the reason of a metric whose value is not finite
MORE = " more"  # ends an entry that stands for further names
MOST = ((20, 6), (6, 6), (2, 4), (1, 1))  # names of a reason, and reasons: the first that do not exceed it


def diagnostic(missing: dict[str, str], name: str, work: Callable[[], T]) -> T | None:
    """What `work` returns; if it fails, None, and the reason is added to `missing` under `name`."""

    def note(reason: str) -> None:
        missing[name] = one_line(reason, LONGEST)

    return attempt(work, note)


def only_finite(metrics: Mapping[str, float], missing: dict[str, str]) -> dict[str, float]:
    """The metrics that are finite numbers; the others are added to `missing` with their values.

    >>> missing: dict[str, str] = {}
    >>> only_finite({"mae": 0.5, "pearson": math.nan}, missing), missing
    ({'mae': 0.5}, {'pearson': 'its value is nan'})
    """
    lost = {name: f"{NOT_FINITE}{value}" for name, value in metrics.items() if not math.isfinite(value)}
    missing |= lost
    return {name: value for name, value in metrics.items() if name not in lost}


def tag_of(missing: Mapping[str, str]) -> dict[str, str]:
    """The tag of a run that lists what is missing, as JSON of reason -> names; empty if nothing is missing.

    What is missing of the test part comes first, as long lists are cut short.

    >>> tag_of({"selected_val/ece": "out of memory", "test/ece": "out of memory"})
    {'missing': '{"out of memory": ["test/ece", "selected_val/ece"]}'}
    """
    if not missing:
        return {}
    by_reason: dict[str, list[str]] = {}
    for name, reason in sorted(missing.items(), key=lambda item: (not item[0].startswith("test/"), item)):
        by_reason.setdefault(reason, []).append(name)
    texts = (json.dumps(_short(by_reason, *most)) for most in MOST)
    return {TAG: next(text for text in texts if len(text) <= LONGEST_TAG)}


def _short(by_reason: Mapping[str, list[str]], names: int, reasons: int) -> dict[str, list[str]]:
    every = list(by_reason.items())
    short = {reason: _some(of_one, names) for reason, of_one in every[:reasons]}
    if rest := every[reasons:]:
        short[f"one of {len(rest)} other reasons"] = _some([name for _, of_one in rest for name in of_one], names)
    return short


def _some(names: list[str], most: int) -> list[str]:
    return names if len(names) <= most else [*names[:most], f"{len(names) - most}{MORE}"]
