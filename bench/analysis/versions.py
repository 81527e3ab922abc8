"""Mark comparisons whose data changed under one name with their data, and the newest ones."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcr_bench.bench.analysis.compared import Comparison

SHORT = 8  # characters of a fingerprint that are shown
DIAL = "dataset."


def told_apart(comparisons: Sequence["Comparison"]) -> list["Comparison"]:
    """The comparisons, marked with their data if another one of the same dataset or title is on other data.

    The mark is the beginning of the data's fingerprint and the day of their last run (UTC). Comparisons without a
    finished run are not marked.
    """
    by_name = _marked(comparisons, lambda one: (one.dataset, dials_of(one)), fingerprint)
    return _marked(by_name, lambda one: one.title, _identity)


def fingerprint(one: "Comparison") -> str:
    """The fingerprint of a comparison's data; for runs of versions without fingerprints the identity of the data."""
    row = one.rows[-1]
    return row.fingerprint or row.data_identity


def _identity(one: "Comparison") -> str:
    """The identity of data, their settings and protocol."""
    return one.rows[-1].data_identity


def _marked(
    comparisons: Sequence["Comparison"], shared: Callable[["Comparison"], Hashable], data: Callable[["Comparison"], str]
) -> list["Comparison"]:
    """The comparisons, marked if others with the same `shared` value are on other `data`."""
    groups: dict[Hashable, dict[str, list[Comparison]]] = {}
    for one in comparisons:
        if one.lines:
            groups.setdefault(shared(one), {}).setdefault(data(one), []).append(one)
    told = {id(one): text for group in groups.values() if len(group) > 1 for one, text in _texts(group)}
    return [
        replace(one, data=told[id(one)][0], older=told[id(one)][1]) if id(one) in told else one for one in comparisons
    ]


def _texts(group: dict[str, list["Comparison"]]) -> Iterable[tuple["Comparison", tuple[str, bool]]]:
    """Each comparison of a group with its mark, and whether its data are not the newest."""
    rows = {data: (row for one in members for row in one.rows) for data, members in group.items()}
    last = {data: max(of_data, key=lambda row: row.order) for data, of_data in rows.items()}
    newest = max(last, key=lambda data: last[data].order)
    for data, members in group.items():
        day = f"{datetime.fromtimestamp(last[data].started, UTC):%Y-%m-%d}"
        for one in members:
            yield one, (f"{data[:SHORT]} of {day}", data != newest)


def dials_of(one: "Comparison") -> frozenset[tuple[str, str]]:
    """The settings of the dataset, (key, value) each."""
    settings = one.rows[-1].settings
    return frozenset((key, str(value)) for key, value in settings.items() if key.startswith(DIAL))
