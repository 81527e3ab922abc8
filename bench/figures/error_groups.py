"""Figure "errors": accuracy on groups of samples by the unimodal models that are right (MCR paper, section 4.3)."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import matplotlib
import numpy as np
import seaborn
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.comparisons import pairs_of
from mcr_bench.bench.figures.style import GREY, PAGE, Missing, canvas, notes_below, shorten, styled
from mcr_bench.bench.figures.values import Unit, first_metric, without_roles
from mcr_bench.bench.problem.metrics import SCORES
from mcr_bench.bench.record.files.samples import Samples
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.words import number_of

Read = Callable[[Iterable[str]], Mapping[str, Samples]]  # run ids -> their test samples, as `Record.samples`
Pair = tuple[int, int]
Groups = dict[str, NDArray[np.str_]]  # group -> ids of its samples

ONLY = "only "  # before the modality that is right alone
WIDEST = 12  # characters of a modality above its column
MAP = "cividis"  # made for colour-blind readers; its lightness rises evenly


@styled
def error_groups(comparison: Comparison, samples: Read) -> Figure:
    """Accuracy of each method on the samples that all, one, some or none of the unimodal runs get right, as a heat map.

    Unimodal runs are those of the same seed and fold; samples are pooled over runs. Missing for regression, for one
    modality, without unimodal runs, or without their predictions.
    """
    first = first_metric(comparison.rows)
    if first == SCORES[0].name:
        raise Missing("regression has no right and wrong predictions")
    single = _unimodal(comparison)
    read = samples([row.run_id for row in comparison.rows])
    groups = {
        pair: _groups(runs, read, comparison.modalities) for pair, runs in single.items() if _complete(runs, read)
    }
    if not groups:
        raise Missing("the unimodal runs have no readable predictions")
    names = _names(comparison.modalities)
    lines = without_roles(comparison, "unimodal")
    used = {label: _used(runs, read, groups) for label, runs in lines.items()}
    rights = {label: _accuracy(runs, read, groups, names) for label, runs in used.items()}
    rights = {label: row for label, row in rights.items() if not np.isnan(row).all()}
    if not rights:
        raise Missing("no method has readable predictions for the seeds and folds of the unimodal runs")
    sizes = np.array([sum(len(group[name]) for group in groups.values()) for name in names])
    return _heatmap(rights, names, sizes / sizes.sum(), {label: len(used[label]) for label in rights}, Unit(first).name)


def _heatmap(
    rights: dict[str, NDArray[np.float64]],
    names: list[str],
    shares: NDArray[np.float64],
    runs: dict[str, int],
    unit: str,
) -> Figure:
    kept = shares > 0
    short, more = shorten((name.removeprefix(ONLY) for name in names), WIDEST)
    columns = [
        f"{_broken(name, short)}\n{100 * share:.0f} %" for name, share in zip(names, shares, strict=True) if share > 0
    ]
    values = np.array(list(rights.values()))[:, kept]
    texts, notes = shorten(rights)
    notes = [*notes, *(f"column {note}" for note in more)]
    figure = canvas(min(PAGE, 1.9 + 0.72 * len(columns)), 0.75 + 0.2 * len(rights))
    axes = figure.subplots()
    seaborn.heatmap(
        values,
        ax=axes,
        vmin=0,
        vmax=100,
        cmap=MAP,
        annot=True,
        fmt=".1f",
        annot_kws={"size": 7},
        linewidths=0.5,
        xticklabels=columns,
        yticklabels=[texts[label] for label in rights],
        mask=np.isnan(values),
        cbar_kws={"label": unit, "pad": 0.02, "aspect": 30},
    )
    for text, value in zip(axes.texts, values[~np.isnan(values)], strict=True):
        text.set_color(_readable(matplotlib.colormaps[MAP](value / 100)))
    axes.tick_params(length=0, rotation=0)
    axes.xaxis.tick_top()
    axes.tick_params(axis="x", length=0)
    axes.spines[:].set_visible(False)
    figure.axes[1].tick_params(labelcolor=GREY)
    reading = f"columns: test samples by which unimodal models are right, and their share; {_counts(runs)}"
    notes_below(figure, [reading, *notes])
    return figure


def _counts(runs: Mapping[str, int]) -> str:
    """The number of runs per line, and the lines with fewer, whose samples differ from those of the columns."""
    most = max(runs.values())
    fewer = [f"{label} {count}" for label, count in runs.items() if count < most]
    told = f"{number_of(most, 'run')} per line"
    return f"{told}, but {', '.join(fewer)}" if fewer else told


def _readable(face: Sequence[float]) -> str:
    """Black or white on this colour, whichever contrasts more (relative luminance of WCAG 2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in face[:3]]
    return "black" if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179 else "white"


def _broken(name: str, short: Mapping[str, str]) -> str:
    """The name of a group, on two lines if it has a modality in it. short: modality -> a name that fits."""
    modality = name.removeprefix(ONLY)
    return f"{ONLY.strip()}\n{short[modality]}" if modality != name else name


def _names(modalities: Sequence[str]) -> list[str]:
    every = "both" if len(modalities) == 2 else "all"
    return [every, *(["several"] if len(modalities) > 2 else []), *(ONLY + m for m in modalities), "none"]


def _unimodal(comparison: Comparison) -> dict[Pair, dict[str, RunRow]]:
    """(seed, fold) -> modality -> its unimodal run, for seeds and folds with a run of every modality."""
    if len(comparison.modalities) < 2:
        raise Missing("one modality: there are no groups to compare")
    by_pair: dict[Pair, dict[str, RunRow]] = {}
    for label in comparison.of_role("unimodal"):
        for pair, row in pairs_of(comparison.lines[label]).items():
            by_pair.setdefault(pair, {}).setdefault(",".join(row.modalities), row)
    whole = {pair: runs for pair, runs in by_pair.items() if set(comparison.modalities) <= set(runs)}
    if not whole:
        raise Missing("no seed and fold has a unimodal run of every modality")
    return whole


def _complete(runs: dict[str, RunRow], read: Mapping[str, Samples]) -> bool:
    return all(row.run_id in read for row in runs.values())


def _groups(runs: dict[str, RunRow], read: Mapping[str, Samples], modalities: Sequence[str]) -> Groups:
    """The test samples of a seed and fold, grouped by the unimodal runs that are right."""
    first = read[runs[modalities[0]].run_id]
    right = np.stack([_right(read[runs[m].run_id], first.ids) for m in modalities])
    count = right.sum(0)
    masks = [count == len(modalities)]
    if len(modalities) > 2:
        masks.append((count > 1) & (count < len(modalities)))
    masks += [(count == 1) & row for row in right]
    masks.append(count == 0)
    return {name: first.ids[mask] for name, mask in zip(_names(modalities), masks, strict=True)}


def _right(samples: Samples, ids: NDArray[np.str_]) -> NDArray[np.bool_]:
    """For each of `ids` whether the prediction is right; Missing if the run did not test one of them."""
    if np.array_equal(samples.ids, ids):
        return samples.score > 0.5
    order = np.argsort(samples.ids)
    places = order[np.clip(np.searchsorted(samples.ids, ids, sorter=order), 0, len(order) - 1)]
    if not np.array_equal(samples.ids[places], ids):
        raise Missing("runs of the same seed and fold tested different samples")
    return samples.score[places] > 0.5


def _used(runs: list[RunRow], read: Mapping[str, Samples], groups: Mapping[Pair, Groups]) -> dict[Pair, RunRow]:
    """The runs with predictions, of seeds and folds whose groups are known."""
    return {pair: row for pair, row in pairs_of(runs).items() if pair in groups and row.run_id in read}


def _accuracy(
    runs: Mapping[Pair, RunRow], read: Mapping[str, Samples], groups: Mapping[Pair, Groups], names: list[str]
) -> NDArray[np.float64]:
    """The accuracy in per cent of each group over the samples of all runs; nan for a group without samples."""
    hits, counts = np.zeros(len(names)), np.zeros(len(names))
    for pair, row in runs.items():
        right = [_right(read[row.run_id], groups[pair][name]) for name in names]
        hits += [r.sum() for r in right]
        counts += [len(r) for r in right]
    shares: NDArray[np.float64] = np.divide(100 * hits, counts, out=np.full(len(names), np.nan), where=counts > 0)
    return shares
