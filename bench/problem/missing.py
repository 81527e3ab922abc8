"""Diagnostics describe a run without being its result: one that cannot be computed is missing, with a reason."""

import json
import math
from collections.abc import Callable, Mapping
from typing import TypeVar

from mcr_bench.bench.core.guard import attempt
from mcr_bench.bench.errors import one_line

T = TypeVar("T")
TAG = "missing"
LONGEST = 200  # characters of a reason; this limit and the next two exist because MLflow limits the length of a tag
MOST_NAMES, MOST_REASONS = 20, 6


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
    lost = {name: f"its value is {value}" for name, value in metrics.items() if not math.isfinite(value)}
    missing |= lost
    return {name: value for name, value in metrics.items() if name not in lost}


def tag_of(missing: Mapping[str, str]) -> dict[str, str]:
    """The tag of a run that lists what is missing, as JSON of reason -> names; empty if nothing is missing.

    >>> tag_of({"val/ece": "out of memory", "test/ece": "out of memory"})
    {'missing': '{"out of memory": ["test/ece", "val/ece"]}'}
    """
    by_reason: dict[str, list[str]] = {}
    for name, reason in sorted(missing.items()):
        by_reason.setdefault(reason, []).append(name)
    short = {reason: _some(names) for reason, names in list(by_reason.items())[:MOST_REASONS]}
    return {TAG: json.dumps(short)} if short else {}


def _some(names: list[str]) -> list[str]:
    return names if len(names) <= MOST_NAMES else [*names[:MOST_NAMES], f"{len(names) - MOST_NAMES} more"]
