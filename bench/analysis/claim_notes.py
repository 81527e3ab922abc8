"""Notes on the primary test: which lines are not in it, which have too few pairs, and how intervals are computed."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from mcr_bench.bench.analysis.budgets import budget_of, mixed_notes, other_budgets
from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.comparisons import overlap_of, several_folds
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.words import number_of

if TYPE_CHECKING:
    from mcr_bench.bench.analysis.claimed import Against

OVERLAP = "the folds' training parts overlap"


def family_notes(
    against: Sequence["Against"],
    candidates: Mapping[str, Collection[object]],
    comparison: Comparison,
    baseline: str,
    alpha: float,
) -> list[str]:
    """The notes on the tests against the baseline.

    candidates: label -> its values, of all lines that could have been tested, including the baseline.
    """
    unpaired = set(candidates) - {baseline, *(one.label for one in against)}
    aside = set(comparison.of_role("unimodal")) - set(candidates)
    notes = []
    if unpaired:
        notes.append(f"not tested: {_listed(unpaired)}: no seed and fold in common with {baseline}")
    family = [one for one in against if one.primary]
    few = [f"{one.label}: {one.paired.n} pairs" for one in family if not one.tested]
    if 0 < len(few) < len(family):  # if no line can reach alpha, the rule of bold type says so
        notes.append(f"not tested: {', '.join(few)}: cannot reach p <= {alpha:g} after Holm over {len(family)}")
    if len(family) < len(against):
        explored = _listed([one.label for one in against if not one.primary])
        notes.append(f"explored: {explored}: outside the family named before training, with a correction of their own")
        notes += filter(None, (_divided_note(one.label, comparison.lines[one.label]) for one in against))
    notes += budget_notes(comparison, baseline)
    if aside:
        notes.append(f"not in the family: {_listed(aside)}, which see one modality only")
    most = max((one.paired.n for one in against), default=0)
    fewer = [f"{one.label} ({one.paired.n})" for one in against if one.paired.n < most]
    if fewer:
        notes.append(f"fewer pairs than the others: {', '.join(fewer)}")
    runs = {label: len(known) for label, known in candidates.items()}
    wider = [
        f"{one.label} ({one.paired.n} pairs; {runs[one.label]} runs, {runs[baseline]} of {baseline})"
        for one in against
        if one.paired.n < max(runs[one.label], runs[baseline])
    ]
    if wider:
        notes.append(f"differences are over the pairs alone, the means beside them over all runs: {', '.join(wider)}")
    return notes + _lost_notes(comparison) + mixed_notes(comparison, baseline) + _overlap_notes(against)


def _divided_note(label: str, runs: Sequence[RunRow]) -> str:
    """That a line was planned partly in the family and partly outside it; empty where its runs agree."""
    inside = sum(row.primary for row in runs)
    if inside in (0, len(runs)):
        return ""
    return (
        f"{label} counts as explored: {inside} of its {number_of(len(runs), 'run')} were planned in the family named "
        "before training, the others outside it"
    )


def _lost_notes(comparison: Comparison) -> list[str]:
    """A note on the runs that no test can take in: a method that fails on hard seeds looks better without them."""
    every = (comparison.failed, comparison.unfinished, comparison.valueless)
    lost = Counter(row.label for rows in every for row in rows)
    told = ", ".join(f"{label} ({number_of(count, 'run')})" for label, count in sorted(lost.items()))
    line = f"in no test, as they failed, are not finished or have no finite test {comparison.metric}: {told}"
    return [line] if told else []


def budget_notes(comparison: Comparison, baseline: str) -> list[str]:
    """A note on the lines that had another budget than the baseline, with a way to test them."""
    single = comparison.of_role("unimodal")
    others = [label for label in other_budgets(comparison, baseline) if label not in single]
    if not others:
        return []
    base = comparison.lines[baseline]
    groups: dict[str, list[str]] = {}
    for label in others:
        groups.setdefault(budget_of(comparison.lines[label]).text, []).append(label)
    told = "; ".join(f"{_listed(labels)} ({text})" for text, labels in groups.items())
    note = f"not in the family: {told}: other budgets than {baseline} ({budget_of(base).text})"
    method = base[0].method
    mine = [label for label in others if comparison.lines[label][0].method == method]
    remedy = f"--baseline '{mine[0]}' tests them" if mine else f"run {method} with that budget to test them"
    return [f"{note}; {remedy}"]


def folds_note(runs: Iterable[RunRow]) -> str:
    """A note on intervals of means over these runs; empty if they cover one fold."""
    known = list(runs)
    if not several_folds(known):
        return ""
    if overlap_of(known) is None:
        return f"{OVERLAP}, and their sizes are not on record: intervals are too narrow"
    return f"{OVERLAP}: intervals carry the Nadeau-Bengio correction"


def _overlap_notes(against: Sequence["Against"]) -> list[str]:
    """Notes on the lines whose pairs cover several folds, as the training parts of these overlap."""
    spanning = [one for one in against if one.folds > 1]
    corrected = [one.label for one in spanning if one.paired.resampled]
    uncorrected = [one.label for one in spanning if not one.paired.resampled]
    notes = []
    if corrected:
        notes.append(
            f"{OVERLAP}: intervals and t tests{_of(corrected, against)} carry the Nadeau-Bengio correction; "
            "the sign-flip test takes the pairs as exchangeable"
        )
    if uncorrected:
        which = _of(uncorrected, against)
        notes.append(f"{OVERLAP}, and their sizes are not on record: intervals{which} are too narrow")
    return notes


def _of(labels: Sequence[str], against: Sequence["Against"]) -> str:
    """The labels in words; empty if they are those of all lines."""
    return f" of {', '.join(labels)}" if len(labels) < len(against) else ""


def _listed(labels: Collection[str]) -> str:
    return ", ".join(sorted(labels))
