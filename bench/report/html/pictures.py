"""Figures inside the page: an SVG without what would leak out of it, or a PNG."""

import base64
import re
from collections.abc import Sequence
from functools import partial
from xml.etree import ElementTree

from markupsafe import Markup

from mcr_bench.bench.printable import shown
from mcr_bench.bench.report.html.contents import Picture
from mcr_bench.bench.report.html.markup import part, render

SCALE = 1.2  # of a figure on a screen: its type is sized for print
NARROW = 4.0  # inches; up to here a phone shows a figure whole
PIXELS = 96  # CSS pixels per inch
UNUSED = ("metadata", "style")
GEOMETRY = ("d", "x", "y", "transform", "points")
INHERITED = "stroke-linejoin:round;stroke-linecap:butt"  # what matplotlib's own style sheet says, which is dropped
REFERENCE = re.compile(r"url\(#([^)]+)\)|^#(.+)$")


def gallery(pictures: Sequence[Picture], prefix: str, named: bool = False) -> Markup:
    """The figures with captions, then those that are left out with the reason.

    prefix: of all ids inside; named: captions say what data a figure is of, where no heading does.
    """
    shown = [
        part(one.title, partial(_figure, one, f"{prefix}-{i}", named))
        for i, one in enumerate(pictures)
        if isinstance(one.image, bytes)
    ]
    missing = [one for one in pictures if isinstance(one.image, str)]
    return render("figures", figures=shown, missing=missing)


def svg_markup(file: bytes, prefix: str, label: str, width: float) -> Markup:
    """An SVG file as an element of the page, with ids that only this figure has and without styles for the page.

    label: what it shows, in words. width: its width in CSS pixels. ParseError if `file` is not XML.
    """
    root = ElementTree.fromstring(file)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {_local(key): value for key, value in element.attrib.items()}
        for child in [c for c in element if _local(c.tag) in UNUSED]:
            element.remove(child)
    _rename(root, prefix)
    for element in root.iter():
        _tidy(element)
    box = root.get("viewBox", "")
    root.attrib = {
        "viewBox": box,
        "width": f"{width:.0f}",
        "role": "img",
        "aria-label": shown(label),
        "style": INHERITED,
    }
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _figure(picture: Picture, prefix: str, named: bool) -> Markup:
    assert isinstance(picture.image, bytes)
    label, width = f"{picture.title}, {picture.about}: {picture.shows}", picture.width * PIXELS * SCALE
    is_png = picture.image.startswith(b"\x89PNG")
    return render(
        "figure",
        anchor=prefix,
        narrow=picture.width <= NARROW,
        svg="" if is_png else svg_markup(picture.image, prefix, label, width),
        png=base64.b64encode(picture.image).decode() if is_png else "",
        label=label,
        width=f"{width:.0f}",
        title=picture.title,
        about=picture.about if named else "",
        shows=picture.shows,
    )


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _rename(root: ElementTree.Element, prefix: str) -> None:
    """matplotlib numbers its ids per figure: on one page the second figure would be clipped by the first."""
    pairs = [(element, key, value) for element in root.iter() for key, value in element.attrib.items()]
    used = dict.fromkeys(
        old for _, key, value in pairs if key != "id" for match in REFERENCE.findall(value) for old in match if old
    )
    names = {old: f"{prefix}-{i}" for i, old in enumerate(used)}
    for element, key, value in pairs:
        if key != "id":
            element.set(key, REFERENCE.sub(lambda m: m[0].replace(m[1] or m[2], names[m[1] or m[2]]), value))
        elif value in names:
            element.set(key, names[value])
        else:
            del element.attrib[key]


def _tidy(element: ElementTree.Element) -> None:
    """Hundredths of a point are finer than any screen, and half the size of the file."""
    for key in GEOMETRY:
        if key in element.attrib:
            element.set(
                key, re.sub(r"\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}", " ".join(element.attrib[key].split()))
            )
    if element.tag not in ("text", "tspan"):
        element.text = (element.text or "").strip()
    if element.tag != "tspan":
        element.tail = (element.tail or "").strip()
