"""Diagnostics tell about a run without being its result: one that cannot be had is missing, with its reason."""

import json
import math
from collections.abc import Callable, Mapping
from typing import TypeVar

from mcr_bench.bench.core.guard import attempt
from mcr_bench.bench.errors import one_line

T = TypeVar("T")
TAG = "missing"
LONGEST, MOST_NAMES, MOST_REASONS = 200, 20, 6  # characters of a reason, and so on: MLflow limits the length of a tag


def diagnostic(missing: dict[str, str], name: str, work: Callable[[], T]) -> T | None:
    """What `work` returns; where it fails, None, and `missing` gets the reason under `name`."""

    def note(reason: str) -> None:
        missing[name] = one_line(reason, LONGEST)

    return attempt(work, note)


def only_finite(metrics: Mapping[str, float], missing: dict[str, str]) -> dict[str, float]:
    """The metrics that are finite numbers; of the others `missing` gets what they are."""
    lost = {name: f"its value is {value}" for name, value in metrics.items() if not math.isfinite(value)}
    missing |= lost
    return {name: value for name, value in metrics.items() if name not in lost}


def tag_of(missing: Mapping[str, str]) -> dict[str, str]:
    """The tag of a run that says what is missing, as JSON: reason -> names; no tag where nothing is."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in sorted(missing.items()):
        by_reason.setdefault(reason, []).append(name)
    short = {reason: _some(names) for reason, names in list(by_reason.items())[:MOST_REASONS]}
    return {TAG: json.dumps(short)} if short else {}


def missing_of(tags: Mapping[str, str]) -> dict[str, list[str]]:
    """Reason -> names, from the tags of a run."""
    found: dict[str, list[str]] = json.loads(tags.get(TAG, "{}"))
    return found


def _some(names: list[str]) -> list[str]:
    return names if len(names) <= MOST_NAMES else [*names[:MOST_NAMES], f"{len(names) - MOST_NAMES} more"]
