"""What a report is made of, gathered before anything is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mcr_bench.bench.analysis.claimed import Claims
from mcr_bench.bench.analysis.compared import Comparison, Row
from mcr_bench.bench.analysis.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from mcr_bench.bench.statistics.ranks import Ranks

VERSIONS = "version/"
PLACES = ("version", "device", "platform", "commit")
UNKNOWN = "not recorded"

Environment = Mapping[str, Mapping[str, int]]  # what -> value -> number of runs


@dataclass(frozen=True)
class Section:
    """One comparison with its statistics, or the reason in words why it has none."""

    comparison: Comparison
    claims: Claims | str


@dataclass(frozen=True)
class Picture:
    """A figure as the page holds it. image: an SVG or PNG file, or in words why the figure is left out.

    name: what kind of figure; about: the title of its comparison, or what else it is of; width: in inches.
    """

    name: str
    title: str
    shows: str
    about: str
    image: bytes | str
    width: float = 0.0


@dataclass(frozen=True)
class Contents:
    """Everything a page says. cost_baseline: method to which costs are relative; record: where the runs are kept.

    sweeps: tables along the dials of a dataset; published: as from `published_tables`; ranks: across datasets, or why
    there are none; budgets: as from `budget_curves`, or why they cannot be read; environment: as from `environment_of`;
    facts: more lines for the head of the page; left_out: what could not be made, and why, a line each.
    """

    sections: Sequence[Section]
    cost_baseline: str
    pictures: Sequence[Picture] = ()
    published: Sequence[Table] = ()
    sweeps: Sequence[Table] = ()
    ranks: "Ranks | str" = "not computed"
    budgets: "pd.DataFrame | str | None" = None
    environment: Environment = field(default_factory=dict)
    record: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    left_out: Sequence[str] = ()

    @property
    def rows(self) -> list[Row]:
        """Every run of the comparisons once; a unimodal run stands in several."""
        return list({row["run_id"]: row for one in self.sections for row in one.comparison.rows}.values())


def environment_of(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """What runs were trained with, from their tags: name -> value -> number of runs, the most frequent value first."""
    names = [name for row in rows for name in row["tags"] if name.startswith(VERSIONS)]
    found: dict[str, dict[str, int]] = {}
    for name in (*PLACES[:1], *sorted(set(names)), *PLACES[1:]):
        values = [row["tags"].get(name) or UNKNOWN for row in rows]
        counts = {value: values.count(value) for value in sorted(set(values))}
        found[name.removeprefix(VERSIONS)] = dict(sorted(counts.items(), key=lambda entry: -entry[1]))
    return found
