"""Make the claims of a comparison: the primary test against a baseline, its power, and the secondary tests."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from math import isfinite, isnan, nan
from statistics import fmean, median
from typing import TYPE_CHECKING

import numpy as np

from mcr_bench.bench.analysis.budgets import other_budgets
from mcr_bench.bench.analysis.claim_notes import family_notes
from mcr_bench.bench.analysis.claimed import ALPHA, POWER, Against, AllPairs, Claims, Pair, Power
from mcr_bench.bench.analysis.compared import SHARES, Comparison
from mcr_bench.bench.analysis.comparisons import overlap_of, pairs_of
from mcr_bench.bench.analysis.sample_tests import Scores, sample_tests
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.statistics.families import holm
from mcr_bench.bench.statistics.intervals import constant
from mcr_bench.bench.statistics.paired import Paired, compare_paired, without_rounding
from mcr_bench.bench.statistics.power import detectable, pairs_needed, reachable, shortfall, smallest_p
from mcr_bench.bench.statistics.sign_flip import sign_flip, sign_flip_name
from mcr_bench.bench.words import number_of

if TYPE_CHECKING:
    from mcr_bench.bench.record.files.samples import Samples

ReadSamples = Callable[[list[str]], "Mapping[str, Samples]"]


def baseline_of(comparison: Comparison, baseline: str) -> str | None:
    """The label of the baseline: `baseline` itself, or that method's line with the fewest settings, or None."""
    return baseline if baseline in comparison.lines else comparison.plainest(baseline)


def claims(
    comparison: Comparison,
    baseline: str,
    metric: str | None = None,
    alpha: float = ALPHA,
    read_samples: ReadSamples | None = None,
) -> Claims:
    """Test every line except the unimodal ones against the line `baseline`, and all pairs of lines.

    The primary test is fixed: the exact two-sided sign-flip test over (seed, fold) pairs, with Holm's correction over
    the lines of the family that was named before training. The other lines are explored: they have the same test with a
    correction of their own, and no claim is made from it.

    metric: the test metric; without it the protocol's.
    read_samples: gives scores per sample for run ids, for the secondary tests, which use the protocol's metric.
    """
    metric = metric or comparison.metric
    scale = 100.0 if metric in SHARES else 1.0
    values = _values(comparison, baseline, metric, scale)
    tests = paired_against(comparison, baseline, metric, scale)
    base = values[baseline]
    scores = _scores(comparison, [baseline, *tests], read_samples if metric == comparison.metric else None)
    sizes = Counter(is_primary(comparison, label) for label in tests)
    against = []
    for label, (paired, adjusted) in tests.items():
        primary = is_primary(comparison, label)
        size = sizes[primary]
        common = _common(values[label], base)
        against.append(
            Against(
                label,
                fmean(values[label].values()),
                paired,
                adjusted,
                _spread(values[label], base) * detectable(paired.n, alpha / size, POWER),
                sample_tests(scores, label, baseline, common, scale),
                len({fold for _, fold in common}),
                adjusted <= alpha or reachable(paired.n, size, alpha),
                primary,
            )
        )
    mean = fmean(base.values()) if base else nan
    pairs, power = _all_pairs(values), _power([one for one in against if one.primary], alpha)
    notes = family_notes(against, values, comparison, baseline, alpha)
    return Claims(comparison, baseline, metric, alpha, scale, mean, against, pairs, power, notes)


def paired_against(
    comparison: Comparison, baseline: str, metric: str, scale: float = 1.0
) -> dict[str, tuple[Paired, float]]:
    """The primary test: label -> its paired comparison with `baseline`, and p after Holm's correction.

    Lines outside the family that was named before training have a correction of their own. Unimodal lines are not
    tested, and lines that share no seed and fold with the baseline are left out. Values are multiplied by `scale`.
    """
    values = _values(comparison, baseline, metric, scale)
    base = values.pop(baseline)
    paired = {}
    for label, mine in values.items():
        if common := _common(mine, base):
            runs = pairs_of(comparison.lines[label])
            overlap = overlap_of(runs[pair] for pair in common)
            paired[label] = compare_paired([mine[p] for p in common], [base[p] for p in common], overlap=overlap)
    adjusted: dict[str, float] = {}
    for family in (True, False):
        labels = [label for label in paired if is_primary(comparison, label) is family]
        adjusted |= zip(labels, holm([paired[label].sign_flip for label in labels]).tolist(), strict=True)
    return {label: (one, adjusted[label]) for label, one in paired.items()}


def is_primary(comparison: Comparison, label: str) -> bool:
    """Whether the line was in the family of the primary test when each of its runs was planned."""
    return all(row.primary for row in comparison.lines[label])


def values_of(runs: Sequence[RunRow], metric: str, scale: float = 1.0) -> dict[Pair, float]:
    """(seed, fold) -> test metric of its run times `scale`; runs without a finite value are left out."""
    logged = {pair: row.metrics.get(f"test/{metric}") for pair, row in pairs_of(runs).items()}
    return {pair: scale * value for pair, value in logged.items() if value is not None and isfinite(value)}


def leading(claims: Claims) -> tuple[set[str], str]:
    """The labels in bold type, which follow from the primary test alone, and the rule in words."""
    if claims.power is None:
        return set(), f"no bold type: {untestable(claims)}"
    if not claims.power.reachable:
        return set(), f"no bold type: {cannot(claims)}"
    counts = sorted({one.paired.n for one in claims.family if one.tested})
    pairs = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    family = number_of(claims.power.comparisons, "method")
    test = f"{sign_flip_name(counts[-1])} over {pairs} (seed, fold) pairs, Holm over {family}"
    if claims.better:
        return claims.better, f"bold: better than {claims.baseline} ({test}, p <= {claims.alpha:g})"
    rule = f"bold: {claims.baseline} and what was tested and is not worse; nothing is better"
    return {claims.baseline, *claims.neither}, f"{rule} ({test}, p <= {claims.alpha:g})"


def untestable(claims: Claims) -> str:
    """Why nothing could be tested, in words."""
    if isnan(claims.baseline_mean):
        return f"{claims.baseline} has no finite test {claims.metric}"
    if claims.explored:
        others = claims.comparison.lines.keys() - {claims.baseline, *claims.comparison.of_role("unimodal")}
        if any(is_primary(claims.comparison, label) for label in others):
            return f"no method of the family that was named before training has runs that pair with {claims.baseline}"
        return "no compared method is in the family that was named before training: all are explored"
    return f"no other method shares a seed and fold with {claims.baseline}"


def cannot(claims: Claims) -> str:
    """A sentence: these pairs cannot reach alpha, and how many pairs can."""
    power = claims.power
    assert power is not None
    short = shortfall(power.pairs, power.comparisons, claims.alpha)
    assert short is not None
    return short.text


def _values(comparison: Comparison, baseline: str, metric: str, scale: float) -> dict[str, dict[Pair, float]]:
    """Label -> its values: the baseline first, then all lines with its budget except the unimodal ones."""
    aside = {*comparison.of_role("unimodal"), *other_budgets(comparison, baseline)}
    labels = [baseline, *(label for label in comparison.lines if label not in aside | {baseline})]
    return {label: values_of(comparison.lines[label], metric, scale) for label in labels}


def _common(a: Mapping[Pair, float], b: Mapping[Pair, float]) -> list[Pair]:
    return sorted(a.keys() & b.keys())


def _spread(mine: Mapping[Pair, float], base: Mapping[Pair, float]) -> float:
    """The sample standard deviation of the paired differences; nan where there is none, as with equal ones."""
    a, b = (np.array([values[p] for p in _common(mine, base)]) for values in (mine, base))
    if len(a) < 2 or constant(a - b, float(np.abs([a, b]).max())):
        return nan
    return float(np.std(a - b, ddof=1))


def _power(against: Sequence[Against], alpha: float) -> Power | None:
    if not against:
        return None
    pairs, count = max(one.paired.n for one in against), len(against)
    known = [one.detectable for one in against if not isnan(one.detectable)]
    smallest = min(1.0, smallest_p(pairs) * count)
    size = median(known) if known else nan
    return Power(pairs, count, smallest, pairs_needed(count, alpha), any(one.tested for one in against), size)


def _all_pairs(values: Mapping[str, Mapping[Pair, float]]) -> AllPairs:
    """Test all pairs of lines. Pairs with the same seeds and folds are tested together, which is much faster."""
    groups: dict[tuple[Pair, ...], list[tuple[str, str]]] = {}
    for a, b in combinations(values, 2):
        groups.setdefault(tuple(sorted(values[a].keys() & values[b].keys())), []).append((a, b))
    differences: dict[tuple[str, str], float] = {}
    raw: dict[tuple[str, str], float] = {}
    for common, names in groups.items():
        if common:
            x, y = (np.array([[values[pair[side]][p] for pair in names] for p in common]) for side in (0, 1))
            d = without_rounding(x, y)
            differences |= zip(names, d.mean(0).tolist(), strict=True)
            raw |= zip(names, np.atleast_1d(sign_flip(d)).tolist(), strict=True)
    return AllPairs(differences, dict(zip(raw, holm(list(raw.values())).tolist(), strict=True)))


def _scores(comparison: Comparison, labels: Sequence[str], read: ReadSamples | None) -> Scores:
    """Label -> (seed, fold) -> scores per sample; empty if they are not to be read."""
    if read is None:
        return {}
    runs = {label: pairs_of(comparison.lines[label]) for label in labels}
    by_run = read([row.run_id for rows in runs.values() for row in rows.values()])
    return {
        label: {pair: by_run[row.run_id] for pair, row in rows.items() if row.run_id in by_run}
        for label, rows in runs.items()
    }
