"""An axis of cost ratios: ticks whose labels do not touch, and separate places for marks of equal cost."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import ceil, floor, log10

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from mcr_bench.bench.figures.style import BLANK, RC, text_width

MARK = 0.09  # inches between the centres of two marks that do not cover each other
SPREAD = 0.4  # share of the axis that marks of one group may take (our choice)
LOGARITHMIC = 3  # ratio of the largest to the smallest cost from which the axis is logarithmic
STEPS = (1, 2, 5, 10)  # of ticks on a linear axis, which then has one at the baseline's own cost
# Factors of every power of ten at which ticks may stand, the densest first; then every second power, every third, ...
PER_DECADE = ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))


def ratio_axis(axes: Axes, ratios: Sequence[float], width: float) -> None:
    """Limits, scale and ticks for these ratios on an axis of `width` inches; ticks as plain factors."""
    low, high = min(ratios), max(ratios)
    logarithmic = high > LOGARITHMIC * low
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.25, high * 1.25)
    else:
        pad = 0.1 * (high - low) or 0.1 * high
        axes.set_xlim(low - pad, high + pad)
    ticks = fitting(axes.get_xlim(), width, logarithmic) if high > low else [low]  # one cost is one tick
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: factor(x)))


def factor(ratio: float) -> str:
    """The label of a tick at this ratio."""
    return f"× {ratio:.6g}"


def fitting(limits: tuple[float, float], width: float, logarithmic: bool) -> list[float]:
    """The largest number of ticks whose labels do not touch on an axis of `width` inches between these limits."""
    places = [place for place in _choices(limits, logarithmic) if _apart(place, limits, width, logarithmic)]
    return max(places, key=len, default=[])


def side_by_side(places: Mapping[str, float], limits: tuple[float, float], width: float) -> dict[str, float]:
    """label -> its place on an axis of `width` inches, so that marks of equal cost lie beside each other.

    Places are kept where marks do not touch; those that would are moved apart about their middle, in the order given.
    Where so many would that this took more than two fifths of the axis, all keep their places: a cost would be misread.
    The axis is logarithmic where `ratio_axis` makes it so.
    """
    logarithmic = max(places.values()) > LOGARITHMIC * min(places.values())
    inches = {label: _inches(x, limits, width, logarithmic) for label, x in places.items()}
    moved, step = dict(inches), min(MARK, 0.9 * width / len(places))
    for group in _touching(inches, step):
        half = step * (len(group) - 1) / 2
        if 2 * half > SPREAD * width:
            continue
        middle = min(max(_middle(group, inches), half), max(width - half, half))
        moved |= {label: middle + step * i - half for i, label in enumerate(group)}
    return {label: x if moved[label] == inches[label] else _ratio(moved[label], limits, width, logarithmic)
            for label, x in places.items()}  # fmt: skip


def _choices(limits: tuple[float, float], logarithmic: bool) -> Iterable[list[float]]:
    low, high = limits
    if not logarithmic:
        for most in range(6, 0, -1):
            yield [float(x) for x in MaxNLocator(most, steps=STEPS).tick_values(low, high) if low <= x <= high]
        return
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    for factors in PER_DECADE:
        yield [f * 10.0**p for p in powers for f in factors if low <= f * 10.0**p <= high]
    for step in range(2, len(powers) + 1):
        yield [10.0**p for p in powers if p % step == 0 and low <= 10.0**p <= high]


def _apart(ticks: Sequence[float], limits: tuple[float, float], width: float, logarithmic: bool) -> bool:
    """Whether there is space between the labels of these ticks, which must be in order."""
    ends = [(_inches(x, limits, width, logarithmic), text_width(factor(x), RC["xtick.labelsize"]) / 2) for x in ticks]
    return all(b - a >= half + other + BLANK for (a, half), (b, other) in pairwise(ends))


def _touching(inches: Mapping[str, float], step: float) -> list[list[str]]:
    """Groups of labels whose marks would cover each other, also once the groups are moved apart, `step` a mark."""
    groups = [[label] for label in sorted(inches, key=lambda label: inches[label])]
    while True:
        for i, (a, b) in enumerate(pairwise(groups)):
            room = step * (len(a) + len(b)) / 2  # between the middles of groups that just do not touch
            if _middle(b, inches) - _middle(a, inches) < 0.999 * room:
                groups[i : i + 2] = [a + b]
                break
        else:
            return groups


def _middle(group: Sequence[str], inches: Mapping[str, float]) -> float:
    return sum(inches[label] for label in group) / len(group)


def _inches(ratio: float, limits: tuple[float, float], width: float, logarithmic: bool) -> float:
    low, high = limits
    share = (log10(ratio) - log10(low)) / (log10(high) - log10(low)) if logarithmic else (ratio - low) / (high - low)
    return width * share


def _ratio(inches: float, limits: tuple[float, float], width: float, logarithmic: bool) -> float:
    low, high = limits
    share = inches / width
    return float(low * (high / low) ** share) if logarithmic else low + share * (high - low)
