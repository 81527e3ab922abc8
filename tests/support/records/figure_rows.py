"""Rows and comparisons made by hand, and what can be read off a figure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.figures.style import Mark, Marks, marks
from mcr_bench.bench.record.row import RunRow
from mcr_bench.tests.support.records.run_rows import run_row

TWO = ("audio", "video")


def row(
    label: str, seed: int, value: float, role: str = "method", modalities: Sequence[str] = TWO, **more: Any
) -> RunRow:
    measured = {"epochs": 5, "cost/encoder_forwards": 1.0, "cost/encoder_backwards": 1.0}
    return run_row(
        label.split()[0],
        seed,
        value,
        label=label,
        role=role,
        metric=more.get("metric", "accuracy"),
        modalities=",".join(modalities),
        dependencies=more.get("dependencies", ""),
        overrides=more.get("overrides", ""),
        run_id=f"{label}/{seed}",
        seconds_per_step=more.get("seconds", 0.01),
        metrics=more.get("own", measured) | more.get("metrics", {}),
        params=more.get("params", {}),
    )


def line(label: str, values: Sequence[float], role: str = "method", **more: Any) -> list[RunRow]:
    return [row(label, seed, value, role, **more) for seed, value in enumerate(values)]


def compared(*lines: list[RunRow], dataset: str = "toy", modalities: tuple[str, ...] = TWO) -> Comparison:
    named = {runs[0].label: runs for runs in lines}
    return Comparison(dataset, "official", modalities, lines[0][0].metric, "p", (), named, [], 0, [])


def small(**more: Any) -> Comparison:
    return compared(
        line("unimodal (audio)", [0.5, 0.52, 0.51], "unimodal", modalities=("audio",)),
        line("unimodal (video)", [0.55, 0.57, 0.59], "unimodal", modalities=("video",)),
        line("ensemble", [0.60, 0.62, 0.64], "ensemble"),
        line("base", [0.61, 0.62, 0.66], "reference", **more),
        line("other", [0.70, 0.74, 0.72], **more),
    )


def look(*found: Comparison) -> Marks:
    return marks({label: runs[0].role for c in found for label, runs in c.lines.items()})


def xs(figure: Figure, mark: Mark, axes: int = 0) -> list[float]:
    """x of the single points drawn with a mark."""
    lines = [a for a in figure.axes[axes].lines if (a.get_marker(), a.get_color()) == (mark.marker, mark.colour)]
    return [float(np.asarray(artist.get_xdata())[0]) for artist in lines if len(np.asarray(artist.get_xdata())) == 1]


def words(figure: Figure) -> str:
    """Everything written on a figure."""
    texts = [
        t.get_text() for axes in figure.axes for t in [*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels()]
    ]
    texts += [label for axes in figure.axes for label in (axes.get_xlabel(), axes.get_ylabel(), axes.get_title())]
    texts += [axes.get_title(loc="left") for axes in figure.axes]
    texts += [t.get_text() for legend in figure.legends for t in legend.get_texts()]
    return "\n".join([*texts, figure.get_supxlabel()]).replace("\n  ", " ")
