"""Comparisons on data that changed under one name: each says which data it is on, and which are the newest."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcr_bench.bench.analysis.compared import Comparison

SHORT = 8  # characters of a fingerprint that tell data apart
DIAL = "dataset."


def told_apart(comparisons: Sequence["Comparison"]) -> list["Comparison"]:
    """The comparisons in their order; those of a dataset whose data changed, and those of one title, say their data.

    The data are told by the beginning of their fingerprint and the day of their last run (UTC). Comparisons without a
    finished run are left as they are.
    """
    by_name = _marked(comparisons, lambda one: (one.dataset, dials_of(one)), fingerprint)
    return _marked(by_name, lambda one: one.title, _identity)


def fingerprint(one: "Comparison") -> str:
    """Of the data that the comparison is on; runs from before there were fingerprints have an identity alone."""
    row = one.rows[-1]
    return row.fingerprint or row.data_identity


def _identity(one: "Comparison") -> str:
    """Data, dials and protocol together."""
    return one.rows[-1].data_identity


def _marked(
    comparisons: Sequence["Comparison"], shared: Callable[["Comparison"], Hashable], data: Callable[["Comparison"], str]
) -> list["Comparison"]:
    """Comparisons that share something and are on different data, each with its own."""
    groups: dict[Hashable, dict[str, list[Comparison]]] = {}
    for one in comparisons:
        if one.lines:
            groups.setdefault(shared(one), {}).setdefault(data(one), []).append(one)
    told = {id(one): text for group in groups.values() if len(group) > 1 for one, text in _texts(group)}
    return [
        replace(one, data=told[id(one)][0], older=told[id(one)][1]) if id(one) in told else one for one in comparisons
    ]


def _texts(group: dict[str, list["Comparison"]]) -> Iterable[tuple["Comparison", tuple[str, bool]]]:
    """(comparison, (data and day, whether there are newer ones))."""
    last = {data: max(row.started for one in members for row in one.rows) for data, members in group.items()}
    newest = max(last, key=lambda data: last[data])
    for data, members in group.items():
        day = f"{datetime.fromtimestamp(last[data], UTC):%Y-%m-%d}"
        for one in members:
            yield one, (f"{data[:SHORT]} of {day}", data != newest)


def dials_of(one: "Comparison") -> frozenset[tuple[str, str]]:
    """How the data were asked for; a run's row holds it among its settings."""
    settings = one.rows[-1].settings
    return frozenset((key, str(value)) for key, value in settings.items() if key.startswith(DIAL))
