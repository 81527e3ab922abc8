"""Figures inside the report: nothing of one figure touches another or the page."""

import re
from base64 import b64decode
from xml.etree import ElementTree

from matplotlib.figure import Figure

from mcr_bench.bench.commands.drawing import pictures_of
from mcr_bench.bench.figures.catalog import Card, Drawn
from mcr_bench.bench.report.html.contents import Picture
from mcr_bench.bench.report.html.pictures import gallery, svg_markup
from mcr_bench.tests.support.records.report_contents import Parsed, picture, svg

CARD = Card("methods", "Methods", "Everything.")


def references(text: str) -> set[str]:
    return {a or b for a, b in re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text)}


def test_figures_with_the_same_ids_do_not_share_them() -> None:
    first, second = (svg_markup(svg("t"), prefix, "label", 100) for prefix in ("a", "b"))
    assert references(svg("t").decode())
    for text, prefix in ((first, "a"), (second, "b")):
        ids = Parsed(text).ids
        assert references(text) == set(ids)
        assert all(name.startswith(f"{prefix}-") for name in ids)


def test_a_figure_styles_nothing_but_itself_and_says_what_it_shows() -> None:
    text = svg_markup(svg("a < b"), "a", 'of "x" & y', 123.4)
    page = Parsed(text)
    assert not page.of("style")
    assert not page.of("metadata")
    root = page.of("svg")[0]
    assert (root["role"], root["aria-label"], root["width"]) == ("img", 'of "x" & y', "123")
    assert "a < b" in page.text


def test_drawing_is_kept_to_a_hundredth_of_a_point() -> None:
    before = ElementTree.fromstring(svg("t"))
    after = ElementTree.fromstring(svg_markup(svg("t"), "a", "label", 100))
    paths = [[e.get("d", "") for e in root.iter() if e.tag.endswith("path")] for root in (before, after)]
    numbers = [[float(n) for d in found for n in re.findall(r"-?\d+(?:\.\d+)?", d)] for found in paths]
    assert len(numbers[0]) == len(numbers[1]) > 50
    assert max(abs(a - b) for a, b in zip(*numbers, strict=True)) <= 0.005 + 1e-9


def drawn(result: Figure | str) -> Drawn:
    return Drawn("stem", result, CARD, "about")


def test_a_figure_is_a_png_where_its_svg_is_too_large() -> None:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot(range(2000))
    small, missing = pictures_of([drawn(figure), drawn("no data")], largest=10**7)
    large = next(pictures_of([drawn(figure)], largest=1000))
    assert isinstance(small.image, bytes)
    assert isinstance(large.image, bytes)
    assert small.image.startswith(b"<?xml")
    assert large.image.startswith(b"\x89PNG")
    assert (large.width, missing.image) == (2.0, "no data")
    shown = Parsed(gallery([large], "f")).of("img")[0]
    assert b64decode(str(shown["src"]).removeprefix("data:image/png;base64,")) == large.image
    assert shown["alt"] == "Methods, about: Everything."


def test_left_out_figures_are_listed_with_the_reason() -> None:
    found = gallery([picture("x"), Picture("race", "Training race", "Curves.", "x", "no run has curves")], "f")
    assert "<li><b>Training race</b>: no run has curves</li>" in found
    assert found.count("<figure") == 1
