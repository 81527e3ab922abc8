"""Figure "ranks": mean ranks over datasets, as a critical-difference diagram if there are enough datasets."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mcr_bench.bench.figures.style import (
    FAINT,
    GREY,
    INK,
    PAGE,
    RC,
    ROW,
    Marks,
    Missing,
    canvas,
    list_canvas,
    list_rows,
    notes_below,
    shorten,
    styled,
    text_width,
)
from mcr_bench.bench.statistics.ranks import Ranks
from mcr_bench.bench.words import number_of


@styled
def rank_diagram(ranks: Ranks, look: Marks) -> Figure:
    """Critical-difference diagram (Demsar, JMLR 7, 2006): methods on a line of mean ranks, bars join the inseparable.

    Without a critical difference: mean ranks as dots, with the reason below. Missing where nothing could be ranked.
    """
    if not ranks.mean_ranks:
        raise Missing(ranks.reason)
    return _dots(ranks, look) if ranks.critical_difference is None else _diagram(ranks, look)


def _by(ranks: Ranks) -> str:
    return f"ranked by {ranks.by}" if ranks.by else ""


def _dots(ranks: Ranks, look: Marks) -> Figure:
    names = list(ranks.mean_ranks)
    figure, texts, notes = list_canvas(names, 0.5 + ROW * len(names))
    axes = figure.subplots()
    list_rows(axes, [texts[name] for name in names])
    axes.set_xlim(0.7, len(names) + 0.3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel(f"mean rank over {number_of(ranks.datasets, 'dataset')}, 1 is best")
    for row, (name, value) in enumerate(ranks.mean_ranks.items()):
        axes.plot([1, value], [row, row], color=FAINT, lw=1, zorder=1)
        axes.plot([value], [row], look[name].marker, color=look[name].colour, ms=look[name].size(5), zorder=2)
    notes_below(figure, [_by(ranks), ranks.reason, *notes])
    return figure


def _diagram(ranks: Ranks, look: Marks) -> Figure:
    names, count = list(ranks.mean_ranks), len(ranks.mean_ranks)
    texts, notes = shorten(names)
    half = (count + 1) // 2
    figure = canvas(PAGE, 1.0 + 0.12 * len(ranks.cliques) + 0.17 * half)
    axes = figure.subplots()
    bars = 0.6 + 0.55 * len(ranks.cliques)
    side = max(text_width(text, RC["font.size"]) for text in texts.values()) + 0.15
    inch = (count - 0.6) / (PAGE - 2 * side - 0.1)  # in ranks
    axes.set_xlim(0.8 - side * inch, count + 0.2 + side * inch)
    axes.set_ylim(-(bars + half), 2.1)
    axes.set_axis_off()
    _scale(axes, count, ranks.critical_difference or 0.0, 0.06 * inch)
    for i, name in enumerate(names):
        left = i < half
        y = -(bars + (i if left else count - 1 - i) + 0.4)
        _method(
            axes, ranks.mean_ranks[name], y, texts[name], look[name].colour, 0.8 if left else count + 0.2, 0.05 * inch
        )
    for i, clique in enumerate(ranks.cliques):
        ends = [ranks.mean_ranks[clique[0]] - 0.04, ranks.mean_ranks[clique[-1]] + 0.04]
        axes.plot(ends, [-0.55 * (i + 1)] * 2, color=INK, lw=2.4, solid_capstyle="butt", zorder=3)
    p = "" if ranks.friedman is None else f"; Friedman p = {ranks.friedman:.2g}"
    reading = (
        f"mean rank over {ranks.datasets} datasets, 1 is best; bars join methods that Nemenyi does not separate{p}"
    )
    notes_below(figure, [reading, _by(ranks), ranks.reason, *notes])
    return figure


def _scale(axes: Axes, count: int, cd: float, gap: float) -> None:
    """Draw the line of ranks, and the critical difference above it."""
    axes.plot([1, count], [0, 0], color=INK, lw=0.8)
    for place in range(1, count + 1):
        axes.plot([place, place], [0, 0.25], color=INK, lw=0.8)
        axes.text(place, 0.4, str(place), ha="center", va="bottom", size="small")
    axes.plot([1, 1 + cd], [1.6, 1.6], color=INK, lw=1.2, marker="|", ms=5)
    axes.text(1 + cd + gap, 1.6, f"critical difference {cd:.2f}", va="center", size="small")


def _method(axes: Axes, value: float, y: float, text: str, colour: str, edge: float, gap: float) -> None:
    """Draw a line from a method's rank down and outwards to its name at `edge`."""
    left = edge < 1
    axes.plot([value, value, edge], [0, y, y], color=colour, lw=0.9)
    axes.text(edge + (-gap if left else gap), y, text, ha="right" if left else "left", va="center")
    axes.text(edge, y + 0.05, f"{value:.2f}", ha="left" if left else "right", va="bottom", size="x-small", color=GREY)
