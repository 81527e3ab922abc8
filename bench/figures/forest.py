"""Figure "forest": each method's paired difference to a baseline, with the result of the primary test."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from mcr_bench.bench.analysis.claim_notes import folds_note
from mcr_bench.bench.analysis.claims import baseline_of, is_primary, paired_against
from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.figures.style import (
    GREY,
    INK,
    ROW,
    Mark,
    Marks,
    Missing,
    handle,
    legend_above,
    list_canvas,
    list_rows,
    notes_below,
    styled,
)
from mcr_bench.bench.figures.values import (
    Estimate,
    Unit,
    clipped,
    draw_interval,
    limits,
    reading,
    runs_note,
)
from mcr_bench.bench.statistics.paired import Paired
from mcr_bench.bench.statistics.power import shortfall
from mcr_bench.bench.statistics.sign_flip import sign_flip_name
from mcr_bench.bench.words import number_of

Tests = Mapping[str, tuple[Paired, float]]  # label -> the paired comparison with the baseline, and p after Holm


@styled
def forest(comparison: Comparison, look: Marks, baseline: str | None = None, alpha: float = 0.05) -> Figure:
    """Paired differences to `baseline` (label or method; None: the ensemble) with 95 % intervals.

    Filled where the exact sign-flip test, paired by (seed, fold), is significant after Holm, over the family of the
    primary test and over the explored lines apart. Unimodal lines are left out. Missing without baseline or without a
    pair.
    """
    unit, base = Unit(comparison.metric), _baseline(comparison, baseline)
    results = paired_against(comparison, base, comparison.metric)
    if not results:
        raise Missing(f"no method has a seed and fold in common with {base}")
    results = dict(sorted(results.items(), key=lambda item: -_better(item[1][0], unit)))
    shown = {label: _shown(test, unit) for label, (test, _) in results.items()}
    figure, texts, notes = list_canvas([*results, base], 0.55 + ROW * len(results))
    axes = figure.subplots()
    list_rows(axes, [texts[label] for label in results])
    bounds = limits([0.0, *(e.mean for e in shown.values())], [b for e in shown.values() for b in (e.low, e.high)])
    axes.set_xlim(*bounds)
    axes.axvline(0, color=INK, lw=0.8, zorder=0.5)
    direction = "" if unit.higher_is_better else ", below 0 is better"
    axes.set_xlabel(f"test {comparison.metric.replace('_', ' ')} − {texts[base]} ({unit.points}{direction})")
    for row, (label, (_, p)) in enumerate(results.items()):
        mark, significant = look[label], p <= alpha
        draw_interval(axes, row, shown[label].low, shown[label].high, mark.colour)
        face = mark.colour if significant else "white"
        axes.plot(
            [shown[label].mean], [row], mark.marker, color=mark.colour, mfc=face, ms=mark.size(5.5), mew=0.8, zorder=3
        )
    _p_values(figure, [p for _, p in results.values()], alpha)
    notes_below(
        figure,
        [
            *_reading(results, unit),
            *_families(comparison, results, alpha),
            *_left_out(comparison, results, base),
            folds_note(comparison.rows),
            clipped(bounds, shown.values()),
            *notes,
        ],
    )
    return figure


def _baseline(comparison: Comparison, baseline: str | None) -> str:
    if baseline is None:
        ensembles = comparison.of_role("ensemble")
        if not ensembles:
            raise Missing("no ensemble to compare with: run it, or name another baseline")
        return ensembles[0]
    line = baseline_of(comparison, baseline)
    if line is None:
        raise Missing(f"the baseline {baseline} has no finished run")
    return line


def _better(test: Paired, unit: Unit) -> float:
    return test.difference if unit.higher_is_better else -test.difference


def _shown(test: Paired, unit: Unit) -> Estimate:
    f = unit.factor
    return Estimate(test.difference * f, test.interval.low * f, test.interval.high * f, test.n)


def _p_values(figure: Figure, values: list[float], alpha: float) -> None:
    """Write the adjusted p of each row at the right edge, and a legend for filled and open marks."""
    (axes,) = figure.axes
    right = axes.twinx()
    right.set_ylim(axes.get_ylim())
    right.set_yticks(
        range(len(values)), ["p < .001" if p < 0.001 else f"p = {p:.3f}".replace("0.", ".") for p in values]
    )
    right.tick_params(axis="y", length=0, labelcolor=GREY)
    right.spines[:].set_visible(False)
    filled, empty = handle(Mark(INK, "o"), line=False), handle(Mark(INK, "o"), line=False)
    empty.set_markerfacecolor("white")
    legend_above(figure, [filled, empty], [f"p ≤ {alpha:g} after Holm", "not significant"])


def _reading(results: Tests, unit: Unit) -> list[str]:
    bars = reading((_shown(test, unit) for test, _ in results.values()), "bars: 95 % interval")
    return [f"{bars}; n = {runs_note([test.n for test, _ in results.values()])}"]


def _families(comparison: Comparison, results: Tests, alpha: float) -> list[str]:
    """Over how many lines Holm's correction goes, and whether as many pairs can reach alpha at all."""
    primary = [label for label in results if is_primary(comparison, label)]
    explored = [label for label in results if label not in primary]
    test = sign_flip_name(max(one.n for one, _ in results.values()))
    notes = [f"p: {test}, Holm over {len(results)}"]
    if primary and explored:
        notes = [f"p: {test}, Holm over {len(primary)} of the family and over {len(explored)} explored"]
        notes.append(f"the family named before training: {', '.join(primary)}; all others are explored")
    for labels in (primary, explored):
        counts = [results[label][0].n for label in labels]
        if labels and (short := shortfall(max(counts), len(labels), alpha)):
            family = number_of(short.comparisons, "comparison")
            notes.append(f"n = {runs_note(counts)} cannot reach p ≤ {alpha:g} over {family}; n = {short.needed} can")
    return notes


def _left_out(comparison: Comparison, results: Tests, base: str) -> list[str]:
    known = {*results, base, *comparison.of_role("unimodal")}
    lines = [label for label in comparison.lines if label not in known]
    return [f"not compared, as budgets or seeds differ: {', '.join(lines)}"] if lines else []
