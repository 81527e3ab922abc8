"""Sweeps: comparisons of one dataset with different settings of the data, and how methods change along them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import isnan
from statistics import fmean

from mcr_bench.bench.analysis.budgets import mixed_notes, other_budgets
from mcr_bench.bench.analysis.claim_notes import folds_note
from mcr_bench.bench.analysis.claimed import Pair
from mcr_bench.bench.analysis.claims import baseline_of, values_of
from mcr_bench.bench.analysis.compared import LOWER_IS_BETTER, SHARES, Comparison
from mcr_bench.bench.analysis.comparisons import overlap_of, pairs_of
from mcr_bench.bench.analysis.floors import floor_notes, floor_of
from mcr_bench.bench.analysis.sizes import sizes_note
from mcr_bench.bench.analysis.table import Cell, Table
from mcr_bench.bench.analysis.versions import dials_of
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.statistics.intervals import Interval
from mcr_bench.bench.statistics.verdict import mean_interval
from mcr_bench.bench.words import number_of

DIAL = "dataset."
UNEVEN = 4  # if the largest gap between settings is at most this many times the smallest, their axis is to scale


@dataclass(frozen=True)
class Sweep:
    """Comparisons that differ in settings of their dataset.

    comparisons: the comparisons, in the order of the settings.
    places: the position of each on an axis.
    ticks: the label of each.
    name: the label of the axis.
    """

    comparisons: list[Comparison]
    places: list[float]
    ticks: list[str]
    name: str

    @property
    def labels(self) -> list[str]:
        """The label of each setting in one line, for columns and notes."""
        return [tick.replace("\n", " · ") for tick in self.ticks]

    @property
    def title(self) -> str:
        """What all comparisons share, for titles."""
        first = self.comparisons[0]
        modalities = " + ".join(first.modalities)
        return f"{first.dataset} · {modalities} · protocol {first.protocol} · preset {first.preset}"


def sweeps(comparisons: Iterable[Comparison]) -> list[Sweep]:
    """The groups of two or more comparisons that differ only in settings of their dataset.

    If one number varies, its axis is to scale; otherwise the comparisons are ordered by the last setting that varies
    and have equal distances.
    """
    groups: dict[tuple[object, ...], list[Comparison]] = {}
    for comparison in comparisons:
        if comparison.lines:
            key = (comparison.dataset, comparison.protocol, comparison.preset, comparison.modalities, comparison.metric)
            groups.setdefault(key, []).append(comparison)
    current = [_newest(group) for group in groups.values()]
    return [sweep for group in current if len(group) > 1 and (sweep := _sweep(group))]


def _newest(group: list[Comparison]) -> list[Comparison]:
    """The comparisons without those on older data whose settings were run on the newest data too."""
    known = {dials_of(comparison) for comparison in group if not comparison.older}
    return [comparison for comparison in group if not comparison.older or dials_of(comparison) not in known]


def sweep_table(sweep: Sweep, baseline: str) -> Table:
    """The table of a sweep: each method's mean at every setting, its level (mean) and its fall (first minus last).

    Level and fall are also given as differences to the baseline's, paired by the (seed, fold) that every setting has,
    with a t interval.

    baseline: a label or method; if a setting has no run of it, there are no differences.
    """
    first = sweep.comparisons[0]
    scale = 100.0 if first.metric in SHARES else 1.0
    unit, digits = ("points", 1) if scale == 100 else (first.metric, 3)
    values, line = _values(sweep, scale), baseline_of(first, baseline) or ""
    parts = [f"{name}{end}" for name in ("level", "fall") for end in ("", f" − {baseline}", " low", " high")]
    columns = ("method", *sweep.labels, *parts, "n")
    fair = values.keys() - set(other_budgets(first, line)) if line in values else set[str]()
    rows = [
        _row(label, mine, values[line] if label in fair - {line} else None, first) for label, mine in values.items()
    ]
    floor, floor_told = _floor(sweep, scale, digits, len(columns))
    notes = [
        f"settings: {sweep.name}",
        "level: mean over the settings; fall: from the first setting to the last",
        f"− {baseline}: difference with its 95 % t interval, {unit}, paired by the (seed, fold) that every setting has",
        "secondary: no correction for multiplicity",
        f"{first.metric}: lower is better" if first.metric in LOWER_IS_BETTER else "",
        *([] if line in values else [f"no differences: {baseline} does not have runs at every setting"]),
        *_left_out(sweep, values),
        *_unlike(sweep, values),
        folds_note(first.rows),
        *sizes_note(row for comparison in sweep.comparisons for row in comparison.rows),
        *floor_told,
        *dict.fromkeys(note for comparison in sweep.comparisons for note in mixed_notes(comparison, line)),
    ]
    metric = f"{first.metric} ({unit})" if scale == 100 else first.metric
    title = f"{sweep.title} · sweep of {sweep.name} · test {metric}"
    every = (0, *[digits] * (len(columns) - 2), 0)
    place = len(rows) if floor else None
    return Table(title, columns, every, rows + floor, list(filter(None, notes)), floor=place)


Curve = dict[Pair, list[float]]  # (seed, fold) -> value at every setting


def _values(sweep: Sweep, scale: float) -> dict[str, Curve]:
    """Label -> its curve, for the lines that every setting has except unimodal ones; the best level first."""
    every: list[Mapping[str, Mapping[Pair, float]]] = [
        {label: values_of(runs, comparison.metric, scale) for label, runs in comparison.lines.items()}
        for comparison in sweep.comparisons
    ]
    single = set(sweep.comparisons[0].of_role("unimodal"))
    labels = [label for label in every[0] if label not in single and all(label in at for at in every)]
    sign = 1 if sweep.comparisons[0].metric in LOWER_IS_BETTER else -1
    curves = {
        label: {p: [at[label][p] for at in every] for p in sorted(set.intersection(*(set(at[label]) for at in every)))}
        for label in labels
    }
    return dict(sorted(((k, v) for k, v in curves.items() if v), key=lambda item: sign * _level(item[1])))


def _left_out(sweep: Sweep, values: Mapping[str, Curve]) -> list[str]:
    """Notes on the lines and runs that are in no curve, as not every setting has them."""
    lines: dict[str, list[int]] = {}
    for comparison in sweep.comparisons:
        single = comparison.of_role("unimodal")
        for label, runs in comparison.lines.items():
            if label not in single:
                lines.setdefault(label, []).append(len(runs))
    notes = []
    for label, counts in lines.items():
        absent = [tick for tick, at in zip(sweep.labels, sweep.comparisons, strict=True) if label not in at.lines]
        if absent:
            notes.append(f"left out: {label}: no finished runs at {', '.join(absent)}")
        elif label not in values:
            notes.append(f"left out: {label}: no (seed, fold) that every setting has")
        elif more := sum(counts) - len(counts) * len(values[label]):
            notes.append(f"left out: {number_of(more, 'run')} of {label} whose (seed, fold) not every setting has")
    return notes


def _unlike(sweep: Sweep, values: Mapping[str, Curve]) -> list[str]:
    """A warning for each setting of training that varies along the sweep too, with the lines of which it does."""
    lines: dict[str, list[str]] = {}
    for label in values:
        runs = [comparison.lines[label][0].settings for comparison in sweep.comparisons]
        for key in sorted(set().union(*runs)):
            own = [str(settings.get(key, "not set")) for settings in runs]
            if not key.startswith(DIAL) and len(set(own)) > 1:
                told = ", ".join(f"{value} at {tick}" for value, tick in zip(own, sweep.labels, strict=True))
                lines.setdefault(f"{key} ({told})", []).append(label)
    return [
        f"WARNING: {told} varies along the sweep too, so that level and fall of {', '.join(labels)} are not of the "
        "data alone. Train every setting with the same one"
        for told, labels in lines.items()
    ]


def _level(curve: Curve) -> float:
    return fmean(fmean(at) for at in curve.values())


def _row(label: str, mine: Curve, base: Curve | None, first: Comparison) -> tuple[Cell, ...]:
    means = [fmean(column) for column in zip(*mine.values(), strict=True)]
    cells: list[Cell] = [label, *means]
    for value in (fmean, _fall):
        cells.append(fmean(value(at) for at in mine.values()))
        common = sorted(mine.keys() & base.keys()) if base else []
        differences = [value(mine[p]) - value(base[p]) for p in common] if base else []
        runs = pairs_of(first.lines[label])
        overlap = overlap_of(runs[pair] for pair in common)
        interval = mean_interval(differences, overlap=overlap) if differences else None
        cells += [fmean(differences) if differences else None, *_ends(interval)]
    return (*cells, len(mine))


def _floor(sweep: Sweep, scale: float, digits: int, width: int) -> tuple[list[tuple[Cell, ...]], list[str]]:
    """The row of the constant predictor, and notes on the lines that do not beat it at a setting."""
    floors = [floor for comparison in sweep.comparisons if (floor := floor_of(comparison, comparison.metric))]
    if len(floors) < len(sweep.comparisons):
        return [], []
    means = [scale * floor.mean for floor in floors]
    cells: list[Cell] = [floors[0].name, *means, fmean(means), None, None, None, _fall(means)]
    row = (*cells, *(None,) * (width - len(cells) - 1), min(len(floor.values) for floor in floors))
    told = [floor_notes(comparison, comparison.metric, digits, scale) for comparison in sweep.comparisons]
    low = [f"{text} at {tick}" for tick, (_, *texts) in zip(sweep.labels, told, strict=True) for text in texts]
    return [row], [told[0][0], *low]


def _fall(at: list[float]) -> float:
    return at[0] - at[-1]


def _ends(interval: Interval | None) -> tuple[Cell, Cell]:
    if interval is None or isnan(interval.low):
        return None, None
    return interval.low, interval.high


def _sweep(group: list[Comparison]) -> Sweep | None:
    dials = _varying(group)
    values = [tuple(_dial(comparison, dial) for dial in dials) for comparison in group]
    if not dials or len(set(values)) < len(values):
        return None
    name = " · ".join(dial.removeprefix(DIAL) for dial in dials)
    if len(dials) == 1 and all(len(_numbers(text)) == 1 for (text,) in values):
        return _placed(group, [_numbers(text)[0] for (text,) in values], name)
    order = sorted(range(len(group)), key=lambda i: [(_numbers(t), t) for t in reversed(values[i])])
    ticks = ["\n".join(map(_tidy, values[i])) for i in order]
    return Sweep([group[i] for i in order], [float(i) for i in range(len(order))], ticks, name)


def _placed(group: list[Comparison], places: list[float], name: str) -> Sweep:
    """The sweep of one number: to scale, or with equal distances if settings are spread very unevenly."""
    order = sorted(range(len(group)), key=lambda i: places[i])
    ticks, at = [f"{places[i]:g}" for i in order], [places[i] for i in order]
    gaps = [b - a for a, b in pairwise(at)]
    if max(gaps) > UNEVEN * min(gaps):
        at = [float(i) for i in range(len(order))]
    return Sweep([group[i] for i in order], at, ticks, name)


def _varying(group: list[Comparison]) -> list[str]:
    dials = sorted({key for comparison in group for key in _member(comparison).settings if key.startswith(DIAL)})
    return [dial for dial in dials if len({_dial(comparison, dial) for comparison in group}) > 1]


def _member(comparison: Comparison) -> RunRow:
    """A run with every modality of the comparison, if there is one; otherwise its first run."""
    return next((row for row in comparison.rows if row.modalities == comparison.modalities), comparison.rows[0])


def _dial(comparison: Comparison, name: str) -> str:
    return str(_member(comparison).settings.get(name, ""))


def _numbers(text: str) -> list[float]:
    """The numbers in the value of a setting, such as 0.45 or 0.2/0.1; empty if it is not made of numbers."""
    try:
        return [float(part) for part in text.split("/")]
    except ValueError:
        return []


def _tidy(text: str) -> str:
    return "/".join(f"{number:g}" for number in _numbers(text)) or text
