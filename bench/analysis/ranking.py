"""Rank methods across the datasets of a record, and give the ranks as a table and as plain data."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import isclose, isfinite
from statistics import fmean

from mcr_bench.bench.analysis.budgets import same_budget
from mcr_bench.bench.analysis.compared import LOWER_IS_BETTER, Comparison
from mcr_bench.bench.analysis.sizes import sizes_note
from mcr_bench.bench.analysis.table import Cell, Table
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.presets import presets_of
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.record.row import Pair, RunRow
from mcr_bench.bench.statistics.ranks import Ranks, rank
from mcr_bench.bench.words import number_of

NOTHING = "no two methods have finished runs on every dataset"
RULE = (
    "one comparison per dataset: of its newest data, its first preset (else the oldest on record), the most "
    "modalities, the fewest shared settings, the most runs; one line per method: that with the fewest settings of its "
    "own, among lines with one budget of epochs"
)


def rank_datasets(comparisons: Iterable[Comparison], metric: str | None = None) -> Ranks:
    """Rank the methods that every dataset has by their mean test metric; the reason names what is left out.

    Comparisons of one dataset share their data, so only one of them counts, and only one line of each method (`RULE`).
    A dataset on which every method has the same mean as on another dataset is taken as the same data, and does not
    count. Unimodal lines do not count. If fewer than two methods are common to all datasets, there are no ranks.

    metric: the test metric; without it each protocol's own.
    """
    chosen = _one_per_dataset(comparisons)
    values_of = {name: _of_methods(comparison, metric) for name, comparison in chosen.items()}
    scores = {name: _scores(chosen[name], metric, values) for name, values in values_of.items()}
    without = [name for name, values in scores.items() if not values]
    twins = _twins({name: values for name, values in scores.items() if values})
    counted = {name: values for name, values in scores.items() if values and name not in twins}
    notes = [f"without test {metric}: {', '.join(without)}"] if without and metric else []
    notes += [f"{name} left out: every method has the mean that it has on {other}" for name, other in twins.items()]
    methods = dict.fromkeys(method for values in counted.values() for method in values)
    common = [method for method in methods if all(method in values for values in counted.values())]
    if len(common) < 2:
        return Ranks({}, len(counted), None, None, [], "; ".join([NOTHING, *notes]))
    missing = [method for method in methods if method not in common]
    ranks = rank({name: {method: values[method] for method in common} for name, values in counted.items()})
    uneven = [_uneven(name, {method: values_of[name][method] for method in common}) for name in counted]
    notes = [ranks.reason, f"not on every dataset: {', '.join(missing)}" if missing else "", *uneven, *notes]
    kept = [chosen[name] for name in counted]
    return replace(
        ranks, reason="; ".join(filter(None, notes)), by=_by(kept, metric), over=tuple(map(_described, kept))
    )


def _described(comparison: Comparison) -> str:
    """The title of a comparison and the sizes of its parts."""
    return "; ".join([comparison.title, *sizes_note(comparison.rows)])


def rank_table(ranks: Ranks) -> Table:
    """The table of mean ranks, the best first, with Friedman's and Nemenyi's results in its notes."""
    rows: list[tuple[Cell, ...]] = list(ranks.mean_ranks.items())
    notes = [ranks.reason] if ranks.reason else []
    if ranks.friedman is not None and ranks.critical_difference is not None:
        notes.append(f"Friedman p = {ranks.friedman:.2g}; Nemenyi critical difference {ranks.critical_difference:.2f}")
        notes += [f"not separated: {', '.join(clique)}" for clique in ranks.cliques]
    notes += [RULE, *(f"over {title}" for title in ranks.over)] if ranks.over else []
    title = f"Mean ranks over {number_of(ranks.datasets, 'dataset')}{f' by {ranks.by}' if ranks.by else ''}"
    return Table(title, ("method", "mean rank"), (0, 2), rows, notes)


def rank_data(ranks: Ranks) -> dict[str, object]:
    """The ranks as plain data."""
    return vars(ranks)


def _one_per_dataset(comparisons: Iterable[Comparison]) -> dict[str, Comparison]:
    """Dataset -> the comparison that counts for it; the comparisons must be ordered by age."""
    groups: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        if comparison.lines:
            groups.setdefault(comparison.dataset, []).append(comparison)
    return {name: _chosen(group) for name, group in groups.items()}


def _chosen(group: Sequence[Comparison]) -> Comparison:
    ages = list(dict.fromkeys(comparison.preset for comparison in group))
    first = _first_preset(group[0]) if len(ages) > 1 else None  # asking the dataset imports torch

    def standing(comparison: Comparison) -> tuple[bool, bool, int, int, int, int]:
        age = ages.index(comparison.preset)
        return (
            not comparison.older,
            comparison.preset == first,
            len(comparison.modalities),
            -len(comparison.shared),
            -age,
            len(comparison.rows),
        )

    return max(group, key=standing)


def _first_preset(comparison: Comparison) -> str | None:
    """The dataset's default preset; None if the dataset is not available, or is code that a record only names."""
    source = comparison.rows[0].dataset_source or comparison.dataset
    if registry.is_own(source):
        return None
    try:
        return next(iter(presets_of(registry.dataset(source), source)))
    except UserError:
        return None


def _scores(comparison: Comparison, metric: str | None, values: Mapping[str, Mapping[Pair, float]]) -> dict[str, float]:
    """Method -> the mean of its values, with a sign so that higher is better."""
    sign = -1 if (metric or comparison.metric) in LOWER_IS_BETTER else 1
    return {method: sign * fmean(known.values()) for method, known in values.items() if known}


def _uneven(name: str, values: Mapping[str, Mapping[Pair, float]]) -> str:
    """Which methods lack values at a seed and fold where others have one on the dataset; "" if none does."""
    every = {pair for known in values.values() for pair in known}
    fewer = [f"{method} ({len(known)} of {len(every)})" for method, known in values.items() if len(known) < len(every)]
    told = f"unequal runs with a value on {name}, so that its means cannot be compared as they stand"
    return f"{told}: {', '.join(fewer)}" if fewer else ""


def _of_methods(comparison: Comparison, metric: str | None) -> dict[str, dict[Pair, float]]:
    """Method -> (seed, fold) -> the value of a run of its line with the fewest settings.

    Only lines with one budget of training count.
    """
    single = comparison.of_role("unimodal")
    methods = dict.fromkeys(runs[0].method for label, runs in comparison.lines.items() if label not in single)
    fair = replace(comparison, lines=_fair(comparison, single))
    lines = {method: fair.lines[label] for method in methods if (label := fair.plainest(method))}
    return {method: _values(runs, metric) for method, runs in lines.items()}


def _fair(comparison: Comparison, single: Sequence[str]) -> dict[str, list[RunRow]]:
    """The lines with the budget that most methods have; of several budgets that of the line with fewest settings."""
    sets = {
        label: {
            other: comparison.lines[other] for other in comparison.lines if same_budget(comparison.lines[other], runs)
        }
        for label, runs in comparison.lines.items()
        if label not in single
    }

    def standing(label: str) -> tuple[int, int]:
        return len({runs[0].method for runs in sets[label].values()}), -len(comparison.own_settings(label))

    return sets[max(sets, key=standing)] if sets else {}


def _values(runs: Sequence[RunRow], metric: str | None) -> dict[Pair, float]:
    logged = {row.pair: row.value if metric is None else row.metrics.get(f"test/{metric}") for row in runs}
    return {pair: value for pair, value in logged.items() if value is not None and isfinite(value)}


def _twins(scores: dict[str, dict[str, float]]) -> dict[str, str]:
    """Dataset -> an earlier one with the same methods and means; a single mean may be equal by chance."""
    twins: dict[str, str] = {}
    for name, values in scores.items():
        for other, earlier in scores.items():
            if other == name:
                break
            same = values.keys() == earlier.keys() and len(values) > 1
            if same and all(isclose(values[m], earlier[m], rel_tol=1e-12) for m in values):
                twins.setdefault(name, other)
    return twins


def _by(chosen: Sequence[Comparison], metric: str | None) -> str:
    names = [metric] if metric else list(dict.fromkeys(comparison.metric for comparison in chosen))
    return f"test {names[0]}" if len(names) == 1 else f"each protocol's test metric ({', '.join(names)})"
