"""The contents of a site, which are gathered before anything is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcr_bench.bench.analysis.claimed import Claims
from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.publish.gathered import Source, Taken
from mcr_bench.bench.report.html.contents import Picture

if TYPE_CHECKING:
    from mcr_bench.bench.statistics.ranks import Ranks


@dataclass(frozen=True)
class Entry:
    """A comparison on the site, with its statistics, or the reason why it has none."""

    comparison: Comparison
    claims: Claims | str


@dataclass(frozen=True)
class Contents:
    """What a site shows.

    entries: the comparisons.
    cost_baseline: the method whose costs those of others are divided by.
    sources: run id -> where the run is from.
    origins: name -> how many runs are from it.
    pictures: the figures; those of a comparison are about its title.
    ranks: the ranks across datasets, or why there are none.
    left_out: a line for each run that is left out.
    """

    entries: Sequence[Entry]
    cost_baseline: str
    sources: Mapping[str, Source]
    origins: Mapping[str, Taken]
    pictures: Sequence[Picture] = ()
    ranks: "Ranks | str" = "not computed"
    left_out: Sequence[str] = ()

    @property
    def boards(self) -> dict[tuple[str, str], list[Entry]]:
        """(dataset, protocol) -> the comparisons of its page."""
        boards: dict[tuple[str, str], list[Entry]] = {}
        for entry in self.entries:
            boards.setdefault((entry.comparison.dataset, entry.comparison.protocol), []).append(entry)
        return boards
