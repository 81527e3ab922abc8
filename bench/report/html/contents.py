"""The contents of a report, which are gathered before anything is written."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mcr_bench.bench.analysis.claimed import Claims
from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.table import Table
from mcr_bench.bench.record.row import OURS, RunRow

if TYPE_CHECKING:
    import pandas as pd

    from mcr_bench.bench.statistics.ranks import Ranks

UNKNOWN = "not recorded"

Environment = Mapping[str, Mapping[str, int]]  # what -> value -> number of runs


@dataclass(frozen=True)
class Section:
    """A comparison with its statistics.

    comparison: the comparison.
    claims: its statistics, or the reason why it has none.
    """

    comparison: Comparison
    claims: Claims | str


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    name: the name of its kind, as on the command line.
    title: its title.
    shows: what it shows, in one sentence.
    about: the title of its comparison, or what else it is about.
    image: an SVG or PNG file, or the reason why the figure is left out.
    width: its width in inches.
    """

    name: str
    title: str
    shows: str
    about: str
    image: bytes | str
    width: float = 0.0


@dataclass(frozen=True)
class Contents:
    """The contents of a page.

    sections: the comparisons.
    cost_baseline: the method whose costs those of others are divided by.
    pictures: the figures.
    published: the tables of published numbers.
    sweeps: the tables of sweeps.
    ranks: the ranks across datasets, or why there are none.
    budgets: the curves of tuning budgets, or why they cannot be read; None without any.
    environment: what the runs were trained with.
    record: the place of the record.
    facts: more lines for the head of the page.
    left_out: what could not be made and why, one line each.
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
    def rows(self) -> list[RunRow]:
        """All runs of the comparisons, each once; a unimodal run is in several comparisons."""
        return list({row.run_id: row for one in self.sections for row in one.comparison.rows}.values())


def environment_of(rows: Sequence[RunRow]) -> dict[str, dict[str, int]]:
    """What runs were trained with: name -> value -> number of runs, the most frequent value first."""
    libraries = sorted({name for row in rows for name in row.versions} - {OURS})
    values: dict[str, list[str]] = {
        "version": [row.versions.get(OURS, "") for row in rows],
        **{name: [row.versions.get(name, "") for row in rows] for name in libraries},
        "device": [row.device for row in rows],
        "device name": [row.device_name for row in rows],
        "precision": [row.precision for row in rows],
        "deterministic": [str(row.deterministic).lower() for row in rows],
        "platform": [row.platform for row in rows],
        "commit": [row.commit for row in rows],
    }
    return {name: _counts(text or UNKNOWN for text in texts) for name, texts in values.items()}


def _counts(texts: Iterable[str]) -> dict[str, int]:
    """Text -> how often it is there, the most frequent first, by name where several are as frequent."""
    counts = Counter(texts)
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))
