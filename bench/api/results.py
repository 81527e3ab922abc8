"""What came of a comparison, as DataFrames and figures; and single runs of the record."""

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Literal

import pandas as pd
from matplotlib.figure import Figure

from mcr_bench.bench.analysis.claimed import Claims
from mcr_bench.bench.analysis.compared import Comparison as Compared
from mcr_bench.bench.analysis.comparisons import comparisons
from mcr_bench.bench.analysis.floors import with_floors
from mcr_bench.bench.analysis.table import Table, comparison_table
from mcr_bench.bench.api.frames import frame_of, runs_frame, shown
from mcr_bench.bench.commands.drawing import figures_of
from mcr_bench.bench.commands.reading import all_claims, claims_or_why, has_baseline, lead_of, left_out
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.report.claim_tables import claim_tables, power_lines, summary
from mcr_bench.bench.runs.events import Failure

TESTS = ("primary", "secondary", "pairs")
Test = Literal["primary", "secondary", "pairs"]


@dataclass(frozen=True, repr=False)
class Comparison:
    """The runs of a comparison, and what they say; in a notebook it shows as its table.

    record: the record that holds the runs.
    rows: one typed row per run.
    skipped: (dataset, method, reason) of the methods that cannot run there.
    failed: the runs that failed in this call.
    baseline: the method that others are tested against where none is named.
    cost_baseline: the method whose cost is 1 in tables.
    skipped_under: as of the plan of these runs.
    """

    record: Record
    rows: Sequence[RunRow]
    skipped: Sequence[tuple[str, str, str]]
    failed: Sequence[Failure]
    baseline: str
    cost_baseline: str
    skipped_under: "dict[tuple[str, str, str], set[str]]"

    def table(self) -> pd.DataFrame:
        """The mean test metric of every method with deviation, number of runs, modalities and costs, at full precision.

        The index is the method's label, after the comparison's title if there are several; `attrs["notes"]` has the
        notes that belong below it.
        """
        return frame_of(self._tables)

    def compare(
        self, baseline: str | None = None, metric: str | None = None, alpha: float = 0.05, test: Test = "primary"
    ) -> pd.DataFrame:
        """Every method against the baseline; `attrs["notes"]` says first what is better, worse or not separated.

        test: `primary`, the exact sign-flip test paired by seed and fold with Holm's correction, whose last column says
        why a row has no test; `secondary` tests, which decide nothing; or all `pairs`. The mean of a share, such as the
        accuracy, is in points, as its differences are, and the column says so. UserError for a baseline or a metric
        that the runs do not have.
        """
        if test not in TESTS:
            raise UserError(f"test={test!r}: not allowed. Allowed: {', '.join(TESTS)}.")
        base = baseline or self.baseline
        if self._known and not has_baseline(self._known, base):
            labels = ", ".join(dict.fromkeys(label for one in self._known for label in one.lines))
            raise UserError(
                f"no finished run of {base} here. Give compare(baseline=...) one of: {labels}; or name {base} among "
                "the methods of `run`."
            )
        made, missing = all_claims(self._known, self.record, base, metric, alpha)
        told = [line for one in made for line in dict.fromkeys([*power_lines(one), *summary(one)])]
        frame = frame_of([_of_test(one, test) for one in made if one.against])
        frame.attrs["notes"] = [*told, *missing, *frame.attrs.get("notes", [])]
        return frame

    def plot(self, figure: str = "methods", dataset: str | None = None, baseline: str | None = None) -> Figure:
        """One of the figures that `mcr-bench list figures` names.

        A notebook shows it where it is the value of a cell, with or without `%matplotlib inline`; elsewhere
        `savefig(FILE)` writes it.

        UserError with the reason where it cannot be drawn, and where it is drawn for each of several comparisons: then
        name a `dataset`.
        """
        known = [one for one in self._known if dataset in (None, one.dataset)]
        drawn = list(figures_of(known, self.record, baseline or self.baseline, self.cost_baseline, [figure]))
        if len(drawn) > 1:
            about = ", ".join(one.about for one in drawn)
            raise UserError(f"{figure}: there is one for each of {about}. Give dataset=... to choose.")
        if not drawn:
            raise UserError(f"{figure}: there is nothing to draw in this comparison.")
        result = drawn[0].result
        if isinstance(result, str):
            raise UserError(f"{figure} of {drawn[0].about} cannot be drawn: {result}")
        return result

    def runs(self) -> pd.DataFrame:
        """One row per run with all fields, settings and metrics, as `mcr_bench.results` gives for the whole record."""
        return runs_frame(self.rows)

    @cached_property
    def _known(self) -> list[Compared]:
        skipped = [*self.skipped, *left_out(self.record)]
        made = comparisons(list(self.rows), self.cost_baseline, skipped, self.skipped_under)
        return with_floors([one for one in made if one.lines], self.record.floors)

    @cached_property
    def _tables(self) -> list[Table]:
        lead = lead_of(self._known, claims_or_why(self._known, self.record, self.baseline))
        make = partial(comparison_table, baseline=self.cost_baseline, lead=lead)
        return [make(one) for one in self._known]

    def __repr__(self) -> str:
        return "\n\n".join(map(_as_text, self._tables)) or self._nothing

    def _repr_html_(self) -> str:
        return "".join(map(_as_html, self._tables)) or html.escape(self._nothing)

    @property
    def _nothing(self) -> str:
        reasons = dict.fromkeys(failure.reason for failure in self.failed)
        return f"no finished run{': ' if reasons else ''}{'; '.join(reasons)}"


def _of_test(claims: Claims, test: Test) -> Table:
    table = claim_tables(claims)[TESTS.index(test)]
    if test != "primary":
        return table
    mean = f"test {claims.metric}"
    columns = [f"{mean} ({claims.unit})" if name == mean and claims.scale != 1 else name for name in table.columns]
    without = {0: "the baseline itself"} | (
        {} if table.floor is None else {table.floor: "no method: a constant prediction"}
    )
    rows = [(*row, without.get(number, "")) for number, row in enumerate(table.rows)]
    return replace(table, columns=(*columns, "not tested"), digits=(*table.digits, 0), rows=rows)


def _as_text(table: Table) -> str:
    return f"{table.title}\n{shown(table).to_string()}"


def _as_html(table: Table) -> str:
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
    more = f"<details><summary>notes</summary><ul>{notes}</ul></details>"
    return f"<h4>{html.escape(table.title)}</h4>{shown(table).to_html()}{more}"
