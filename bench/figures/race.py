"""Figure "race": how each method's modalities learn: validation metric, gradient share and coefficients per epoch."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.figures.style import (
    GREY,
    PAGE,
    Marks,
    Missing,
    canvas,
    legend_above,
    notes_below,
    part_colours,
    shorten,
    styled,
)
from mcr_bench.bench.figures.values import Unit, first_metric, without_roles
from mcr_bench.bench.record.row import RunRow

Curve = Sequence[tuple[int, float]]
Curves = Mapping[str, Curve]  # metric -> its (epoch, value), one per epoch
History = Callable[[str], Curves]  # run id -> its curves
Band = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]  # epochs, mean, sample sd (0 for one run)
PANEL = 1.0
COEFFICIENT = "coefficient"  # of one method a factor up to 1, of another a weight of thousands: no common scale


@styled
def race(comparison: Comparison, look: Marks, history: History) -> Figure:
    """A row of panels per method: validation metric per modality, its share of the gradient norms, its coefficient.

    Means over runs with a band of one sample standard deviation, up to the epoch that half of the runs reached. Lines
    that train on one modality or not at all are left out. Missing where no run has curves.
    """
    unit = Unit(first_metric(comparison.rows))
    lines = {label: _panels(runs, comparison.modalities, unit, history) for label, runs in _trained(comparison).items()}
    lines = {label: panels for label, panels in lines.items() if any(panels.values())}
    if not lines:
        raise Missing("no run has curves of its modalities")
    names = [name for name in next(iter(lines.values())) if any(panels[name] for panels in lines.values())]
    texts, notes = shorten(lines, 60)
    figure = canvas(PAGE, 0.35 + PANEL * len(lines))
    grid = figure.subplots(len(lines), len(names), sharex=True, squeeze=False)
    for column, name in enumerate(names):
        for axes in grid[1:, column] if name != COEFFICIENT else ():
            axes.sharey(grid[0, column])
    colours = part_colours(comparison.modalities)
    for row, (label, panels) in zip(grid, lines.items(), strict=True):
        for axes, name in zip(row, names, strict=True):
            _draw(axes, panels[name], colours)
        row[0].set_title(texts[label], loc="left", color=look[label].colour)
    for axes, name in zip(grid[0], names, strict=True):
        axes.set_title(name + "\n", color=GREY)  # a line above the name of the first method
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
    handles = [Line2D([], [], color=colour) for colour in colours.values()]
    legend_above(figure, handles, list(colours))
    notes_below(figure, [_reading(comparison, COEFFICIENT in names and len(lines) > 1), *notes])
    return figure


def _trained(comparison: Comparison) -> dict[str, list[RunRow]]:
    """The lines in which several modalities are trained together."""
    return without_roles(comparison, "unimodal", "ensemble")


def _panels(runs: list[RunRow], modalities: Sequence[str], unit: Unit, history: History) -> dict[str, dict[str, Band]]:
    """Panel -> modality -> its band; a panel without curves is empty."""
    curves = [history(row.run_id) for row in runs]
    norms = [{m: dict(c.get(f"train/gradient_norm/{m}", ())) for m in modalities} for c in curves]
    return {
        f"validation {unit.name}": {
            m: _scaled(band, unit.factor)
            for m in modalities
            if (band := _band([dict(c.get(f"val/modality/{m}/{unit.metric}", ())) for c in curves]))
        },
        "share of gradient norms": {
            m: band for m in modalities if len(modalities) > 1 and (band := _band([_shares(n)[m] for n in norms]))
        },
        COEFFICIENT: {
            m: band for m in modalities if (band := _band([dict(c.get(f"train/coefficient/{m}", ())) for c in curves]))
        },
    }


def _shares(norms: dict[str, dict[int, float]]) -> dict[str, dict[int, float]]:
    """The norm divided by the sum of the norms of all modalities, at epochs where each has one."""
    epochs = set.intersection(*(set(curve) for curve in norms.values()))
    totals = {epoch: sum(curve[epoch] for curve in norms.values()) for epoch in sorted(epochs)}
    return {m: {e: curve[e] / total for e, total in totals.items() if total > 0} for m, curve in norms.items()}


def _band(curves: Sequence[Mapping[int, float]]) -> Band | None:
    """Mean and sample standard deviation at each epoch that at least half of the runs have, without nan values."""
    kept = [{e: v for e, v in curve.items() if np.isfinite(v)} for curve in curves]
    kept = [curve for curve in kept if curve]
    values = {epoch: [c[epoch] for c in kept if epoch in c] for epoch in sorted({e for c in kept for e in c})}
    values = {epoch: v for epoch, v in values.items() if 2 * len(v) >= len(kept)}
    if not values:
        return None
    means = np.array([np.mean(v) for v in values.values()])
    spread = np.array([np.std(v, ddof=1) if len(v) > 1 else 0.0 for v in values.values()])
    return np.array(list(values), dtype=np.float64), means, spread


def _scaled(band: Band, factor: float) -> Band:
    return band[0], band[1] * factor, band[2] * factor


def _draw(axes: Axes, bands: dict[str, Band], colours: dict[str, str]) -> None:
    axes.grid(True, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    for modality, (epochs, means, spread) in bands.items():
        marker = "o" if len(epochs) == 1 else ""
        axes.plot(epochs, means, color=colours[modality], marker=marker, ms=3)
        axes.fill_between(epochs, means - spread, means + spread, color=colours[modality], alpha=0.2, lw=0)
    if not bands:
        axes.grid(False)
        axes.tick_params(length=0, labelleft=False)
        axes.spines[:].set_visible(False)
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", va="center", color=GREY, size="small")


def _reading(comparison: Comparison, scaled: bool) -> str:
    several = any(len(runs) > 1 for runs in comparison.lines.values())
    band = "mean ± one sample standard deviation over runs, up to the epoch that half of them reached"
    what = "shares: a modality's encoder gradient norm over their sum"
    own = ["coefficients: each method on a scale of its own"] if scaled else []
    return "; ".join([band if several else "one run per method", what, *own])
