"""Finished runs whose lines are asked for again under another family of the primary test: they keep theirs."""

from collections import defaultdict
from collections.abc import Collection, Iterable

from mcr_bench.bench.planning.plan import Plan
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.words import number_of

Line = tuple[str, str]


def planned_otherwise(plan: Plan, wanted: Collection[str], rows: Iterable[RunRow]) -> list[str]:
    """One sentence with the number of such runs; empty if there are none.

    wanted: the keys of the runs to train, which are recorded with the family of the plan.
    rows: what is on record. Those count that stand in one line with a requested run, whatever their seed and fold.
    """
    runs = [plan.by_key[key] for key in plan.requested if plan.by_key[key].role != "unimodal"]
    kept, recorded = defaultdict[Line, list[RunRow]](list), dict[str, str]()
    for row in rows:
        recorded[row.key] = row.config
        if row.finished and row.key not in wanted:
            kept[row.config, row.data_identity].append(row)
    # One run of each line, as they share the data. A config is a digest: to look it up is faster than to make it.
    asked = {(recorded.get(run.key) or run.config, run.primary): run for run in runs}
    others = {
        row.key
        for (line, _), run in asked.items()
        for row in kept[line, run.data_identity]
        if row.primary is not run.primary
    }
    if not others:
        return []
    return [
        f"{number_of(len(others), 'finished run')} on record {'was' if len(others) == 1 else 'were'} planned under "
        "another family of the primary test, which stays: a line is in the test only if all its runs were planned so, "
        "and `mcr-bench compare` says which are."
    ]
