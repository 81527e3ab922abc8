"""The look of figures: marks, labels, files that come out the same, and one pass over hard records."""

from collections.abc import Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.figures.catalog import CARDS, Sources, all_figures
from mcr_bench.bench.figures.methods import methods
from mcr_bench.bench.figures.style import (
    COLOURS,
    COLUMN,
    MARKERS,
    PAGE,
    PARTS,
    RC,
    list_canvas,
    marks,
    notes_below,
    render,
    save,
    shorten,
)
from mcr_bench.bench.record.files.samples import Samples
from mcr_bench.bench.record.row import RunRow
from mcr_bench.tests.support.records.run_rows import run_row

SIX = ("audio", "depth", "inertial", "skeleton_with_a_long_name", "text", "video")
# Machado, Oliveira and Fernandes (2009), severity 1: what readers with no L, or no M, cones see (linear RGB).
BLINDNESS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


def lab(colour: str, matrix: Sequence[Sequence[float]]) -> Any:
    """CIE L*a*b* (D65) of a colour as seen through `matrix`."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(matrix) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ seen
    f = np.cbrt(np.maximum(xyz / [0.9505, 1, 1.089], 1e-6))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_neighbouring_parts_differ_for_colour_blind_readers(blindness: str) -> None:
    seen = [lab(colour, BLINDNESS[blindness]) for colour in PARTS]
    assert min(np.linalg.norm(a - b) for a, b in pairwise(seen)) > 20


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_lines_differ_in_marker_where_colours_look_alike(blindness: str) -> None:
    found = marks({f"m{i:02d}": "method" for i in range(25)})
    for a, b in combinations(found.values(), 2):
        gap = np.linalg.norm(lab(a.colour, BLINDNESS[blindness]) - lab(b.colour, BLINDNESS[blindness]))
        assert gap > 10 or a.marker != b.marker


def test_colours_are_dark_enough_on_white() -> None:
    identity = np.eye(3).tolist()
    assert max(lab(colour, identity)[0] for colour in (*COLOURS, *PARTS)) < 75


def test_marks_are_unique_and_do_not_depend_on_who_else_is_there() -> None:
    order = [f"m{i}" for i in range(25)]
    found = marks(dict.fromkeys(order, "method"), order)
    assert len({(m.colour, m.marker) for m in found.values()}) == 25
    assert len(COLOURS) * len(MARKERS) > 25
    few = marks({"m3": "method", "m20": "method", "new": "method"}, order)
    assert (few["m3"], few["m20"]) == (found["m3"], found["m20"])
    assert few["new"] not in found.values()
    roles = marks({"e": "ensemble", "u": "unimodal", "v": "unimodal", "m": "method"})
    assert len({(m.colour, m.marker) for m in roles.values()}) == 4


def test_variants_have_the_colour_of_their_method_and_a_marker_of_their_own() -> None:
    order = [f"m{i}" for i in range(25)]
    variants = ["m3 [a=1]", "m3 [a=2]", "m3 [a=3]"]
    roles = dict.fromkeys([*variants, "m3", "m10"], "method") | {"e": "ensemble", "e [a=1]": "ensemble"}
    found = marks(roles, order, dict.fromkeys(variants, "m3") | {"e [a=1]": "e"})
    assert {found[label].colour for label in variants} == {marks({"m3": "method"}, order)["m3"].colour}
    assert found["m3"] == marks({"m3": "method"}, order)["m3"]
    assert len({(m.colour, m.marker) for m in found.values()}) == len(roles)
    assert found["e"].colour == found["e [a=1]"].colour
    alone = marks({"m3 [a=1]": "method"}, order, {"m3 [a=1]": "m3"})
    assert alone["m3 [a=1]"].colour == found["m3"].colour


def test_long_labels_are_numbered_and_written_out() -> None:
    long = [
        "method [a.very.long=setting of.the=first kind]",
        "method [a.very.long=setting of.the=second kind]",
        "short",
    ]
    texts, notes = shorten(long, 24)
    assert texts["short"] == "short"
    assert max(map(len, texts.values())) <= 24
    assert len(set(texts.values())) == 3
    assert notes == [f"(1) {long[0]}", f"(2) {long[1]}"]


def test_a_list_with_many_long_labels_is_a_page_wide_and_keeps_them() -> None:
    long = [f"method-{n} with settings of its own" for n in range(5)]
    figure, texts, notes = list_canvas(long, 2.0)
    assert (figure.get_figwidth(), list(texts.values()), notes) == (PAGE, long, [])
    figure, texts, notes = list_canvas(long[:4], 2.0)
    assert figure.get_figwidth() == COLUMN
    assert len(notes) == 4


def row(
    label: str, seed: int, metric: str, role: str, modalities: Sequence[str], value: float, params: dict[str, str]
) -> RunRow:
    own = "mae" if metric == "mae" else "accuracy"
    metrics = {f"test/{own}": value, "epochs": 0 if role == "ensemble" else 5, "data/bayes_accuracy": 0.95}
    metrics |= {"cost/encoder_forwards": 1 + value, "cost/encoder_backwards": 1.0}
    metrics |= {f"test/contribution/{m}": value * (i - 1) / 10 for i, m in enumerate(modalities)}
    place = {"label": label, "role": role, "modalities": ",".join(modalities), "run_id": f"{label}/{seed}"}
    seconds = 0.01 * (1 + 50 * (value - 0.5))
    named = {"metric": metric, "metrics": metrics, "params": params, "seconds_per_step": seconds}
    return run_row(label.split()[0], seed, value, **place, **named)


def record(
    dataset: str, methods: int, seeds: int, modalities: Sequence[str], metric: str, dial: str = ""
) -> Comparison:
    draw = np.random.default_rng(len(dataset))
    label = "method{} [method{}.strategy=collaborative optimizer.lr=0.0001 e=5]" if methods > 9 else "method{}"
    roles = {f"unimodal ({m})": ("unimodal", (m,)) for m in modalities}
    roles |= {"ensemble": ("ensemble", modalities), "joint": ("reference", modalities)}
    roles |= {label.format(i, i): ("method", modalities) for i in range(methods - 1)}
    params = {"dataset.dial": dial} if dial else {}
    lines = {
        name: [row(name, s, metric, role, used, float(draw.uniform(0.5, 0.9)), params) for s in range(seeds)]
        for name, (role, used) in roles.items()
    }
    return Comparison(dataset, "official", tuple(modalities), metric, "p", (), lines, [], 0, [])


def history(_: str) -> dict[str, list[tuple[int, float]]]:
    keys = [f"val/modality/{m}/{name}" for m in SIX for name in ("accuracy", "mae")]
    keys += [f"train/{what}/{m}" for m in SIX for what in ("gradient_norm", "coefficient")]
    return {key: [(epoch, 0.5 + 0.01 * epoch + 0.1 * (len(key) % 3)) for epoch in range(1, 6)] for key in keys}


def samples(run_ids: Any) -> dict[str, Samples]:
    ids = np.array([f"s{i}" for i in range(80)])
    draw = np.random.default_rng(0)
    return {run_id: Samples(ids, ids, draw.integers(0, 2, 80).astype(np.float32)) for run_id in run_ids}


BUDGETS = pd.DataFrame(
    [
        {
            "dataset": "d",
            "protocol": "p",
            "modalities": "a+v",
            "method": f"method{m}",
            "budget": n,
            "expected": 0.5 + m / 99,
        }
        for m in range(12)
        for n in (1, 2, 5, 20)
    ]
)
SOURCES = Sources("joint", history=history, samples=samples, budgets=BUDGETS)
HARD = {
    "many": ("many", 25, 1, SIX, "accuracy"),
    "two seeds": ("two", 3, 2, SIX[:2], "macro_f1"),
    "regression": ("error", 4, 3, SIX[:3], "mae"),
    "one": ("one", 1, 1, SIX[:1], "accuracy"),
}


@pytest.mark.parametrize("case", HARD)
def test_hard_records_draw_inside_their_page(case: str) -> None:
    """Nothing is cut off: every text lies on the page, within rounding."""
    for drawn in all_figures([record(*HARD[case])], SOURCES, {*CARDS} - {"budget", "race"} if case == "many" else ()):
        if isinstance(drawn.result, Figure):
            assert render(drawn.result, "svg")[:5] == b"<?xml"
            assert_on_page(drawn.result, drawn.stem)


def assert_on_page(figure: Figure, name: str) -> None:
    with matplotlib.rc_context(RC):
        figure.draw_without_rendering()
    width, height = figure.bbox.width, figure.bbox.height
    for text in written(figure):
        box = text.get_window_extent()
        inside = box.x0 > -1 and box.y0 > -1 and box.x1 < width + 1 and box.y1 < height + 1
        assert inside, f"{name}: {text.get_text()!r} at {box} on a page of {width} x {height}"


def written(figure: Figure) -> list[Any]:
    """Every text that is drawn; ticks beyond the limits of an axis exist but are not."""
    texts = [text for legend in figure.legends for text in legend.get_texts()]
    texts += [text for text in figure.get_children() if isinstance(text, matplotlib.text.Text)]
    for axes in figure.axes:
        texts += [*axes.texts, axes.title, axes._left_title]  # type: ignore[attr-defined]
        if axes.axison:
            ticks = [tick for axis in (axes.xaxis, axes.yaxis) for tick in axis._update_ticks()]  # type: ignore[attr-defined]
            texts += [axes.xaxis.label, axes.yaxis.label, *(t for tick in ticks for t in (tick.label1, tick.label2))]
    return [text for text in texts if text.get_visible() and text.get_text().strip()]


def test_one_pass_gives_every_figure_or_a_reason_under_unique_names() -> None:
    found = [record("swept", 2, 2, SIX[:2], "accuracy", dial) for dial in ("1", "2")]
    drawn = list(all_figures(found, SOURCES))
    assert {d.card.name for d in drawn} == set(CARDS)
    assert len({d.stem for d in drawn}) == len(drawn) == 2 * 6 + 3
    assert all(isinstance(d.result, Figure) for d in drawn), [d.result for d in drawn]
    bare = {
        d.card.name: d.result for d in all_figures(found[:1], Sources("joint"), ["race", "errors", "sweep", "budget"])
    }
    assert list(bare) == ["race", "errors", "sweep", "budget"]
    assert all(isinstance(reason, str) for reason in bare.values())


def test_an_empty_record_gives_reasons_only() -> None:
    assert all(isinstance(d.result, str) for d in all_figures([], Sources("joint")))


def test_an_unknown_figure_is_named_with_the_nearest() -> None:
    with pytest.raises(UserError, match="forest"):
        list(all_figures([], Sources("joint"), ["forrest"]))


def test_files_are_the_same_bytes_each_time_and_carry_no_date(tmp_path: Path) -> None:
    found = record("two", 3, 2, SIX[:2], "accuracy")
    look = marks(dict.fromkeys(found.lines, "method"))
    first = save(methods(found, look), tmp_path / "a", "stem")
    second = save(methods(found, look), tmp_path / "b", "stem")
    assert [p.name for p in first] == ["stem.png", "stem.svg", "stem.pdf"]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["stem.pdf", "stem.png", "stem.svg"]
    assert b"Date" not in first[2].read_bytes()
    svg = first[1].read_text(encoding="utf-8")
    assert "<dc:date>" not in svg
    assert ">ensemble</text>" in svg, "text stays text"
    assert b"/Type42" in first[2].read_bytes() or b"/CIDFontType2" in first[2].read_bytes()


def test_drawing_leaves_the_settings_of_matplotlib_alone() -> None:
    before = dict(matplotlib.rcParams)
    found = record("two", 3, 2, SIX[:2], "accuracy")
    methods(found, marks(dict.fromkeys(found.lines, "method")))
    assert dict(matplotlib.rcParams) == before


def test_no_figure_is_registered_with_pyplot() -> None:
    before = pyplot.get_fignums()
    found = record("two", 3, 2, SIX[:2], "accuracy")
    assert len(list(all_figures([found], SOURCES, ["methods", "forest", "errors"]))) == 3
    assert pyplot.get_fignums() == before


def test_names_are_drawn_as_they_are(recwarn: pytest.WarningsRecorder) -> None:
    figure, texts, notes = list_canvas(["a $x_1$\nb", "\u202ec" + " $\\frac$" * 20], 1.0)
    notes_below(figure, notes)
    drawn = render(figure, "svg").decode()
    assert texts["a $x_1$\nb"] == r"a \$x_1\$\u000ab"
    assert "\u202e" not in drawn
    assert "\\u202ec $\\frac$ $\\frac$" in drawn
    assert not recwarn.list
