"""The one look of all figures: sizes, colours, markers, shortened labels, files that come out the same every time."""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib
import seaborn
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path
from matplotlib.ticker import AutoLocator, MaxNLocator

from mcr_bench.bench.analysis.names import cut, own_parts
from mcr_bench.bench.core.files import write_whole
from mcr_bench.bench.printable import in_line

P = ParamSpec("P")

COLUMN, PAGE = 3.5, 7.1  # inches: one column and the whole width of a two-column paper
ROW = 0.19  # height of a labelled line in a figure that lists methods
FEW, LONG = 4, 64  # labels that may be cut in a column; characters of a label in a list as wide as a page
SMALL = 6.5
BLANK = 0.08  # inches between two labels of ticks
Dashes = str | tuple[float, tuple[float, ...]]  # of a line, as matplotlib takes it: a name, or (start, lengths)
TICKS = (6, 5, 4, 3, 2, 1)  # at most so many, the next where labels still touch
DPI = 200
SCREEN = 100  # pixels per inch at which a notebook shows it
FORMATS = ("png", "svg", "pdf")
INK, GREY, FAINT = "#222222", "#6e6e6e", "#dddddd"

# DejaVu Sans comes with matplotlib: the same glyphs and the same layout everywhere.
RC: Any = {
    **seaborn.axes_style("ticks"),
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7.5,
    "axes.labelsize": 7.5,
    "axes.titlesize": 7.5,
    "axes.linewidth": 0.6,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.unicode_minus": True,
    "axes.formatter.useoffset": False,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "text.color": INK,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.2,
    "legend.borderpad": 0.2,
    "lines.linewidth": 1.1,
    "lines.markersize": 4,
    "figure.dpi": DPI,  # glyphs are as wide in the layout as in the png
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
    "savefig.dpi": DPI,
    "svg.fonttype": "none",
    "svg.hashsalt": "mcr-bench",
    "pdf.fonttype": 42,
}
# Seaborn's colour-blind palette without its grey (that of references) and its two colours too light for lines on white.
COLOURS = [c for i, c in enumerate(seaborn.color_palette("colorblind").as_hex()) if i not in (6, 7, 8)]
# One marker more or less than a multiple of the colours: pairs of both repeat only after 7 x 9 lines.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
# Thin arms vanish at the size of a disc, filled and open alike.
LARGER = {"P": 1.5, "X": 1.4, "^": 1.15, "v": 1.15, "<": 1.15, ">": 1.15}
DASHES: tuple[Dashes, ...] = ("-", (0, (4, 1.2)), (0, (1, 1)), (0, (5, 1, 1, 1)))
# Parts of a whole lie side by side: ordered so that neighbours differ in lightness as well.
PARTS = ("#0173b2", "#de8f05", "#56b4e9", "#7a3b00", "#029e73", "#cc78bc")
NO_DATE: dict[str, dict[str, object]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}


class Missing(Exception):
    """The data of a figure is missing; the message says what is missing."""


@dataclass(frozen=True)
class Mark:
    """How the line of a label is drawn in all figures.

    colour: its colour.
    marker: its marker.
    dashes: its dashes.
    """

    colour: str
    marker: str
    dashes: Dashes = "-"

    def size(self, points: float) -> float:
        """The size of the marker at which it looks as large as a disc of this many points."""
        return points * LARGER.get(self.marker, 1.0)


Marks = Mapping[str, Mark]


def marks(
    roles: Mapping[str, str], order: Sequence[str] = (), methods: Mapping[str, str] | None = None
) -> dict[str, Mark]:
    """label -> mark. roles: label -> role; order: methods whose place does not depend on the others (the registry's).

    The ensemble is black, unimodal lines are grey; every other method takes its place in `order`, then the next by
    name. methods: label -> its method, where that is not its name: such a line has its method's colour, and a marker
    and dashes that no other line of this colour has.
    """
    of = {label: (methods or {}).get(label, label) for label in roles}
    places = {name: i for i, name in enumerate(order)}
    plain = {of[label] for label, role in roles.items() if role not in ("unimodal", "ensemble")}
    places |= {name: len(order) + i for i, name in enumerate(sorted(plain - places.keys()))}
    by_name = {name: _mark(place) for name, place in places.items()}
    for i, label in enumerate(sorted(label for label, role in roles.items() if role == "unimodal")):
        by_name[label] = Mark(GREY, MARKERS[i % len(MARKERS)], (0, (1, 1.5)))
    for label in sorted(label for label, role in roles.items() if role == "ensemble"):
        by_name[label] = _variant(Mark(INK, "p", (0, (6, 2))), by_name)
    for label in sorted(label for label in roles if label not in by_name):
        by_name[label] = _variant(by_name[of[label]], by_name)
    return {label: by_name[label] for label in roles}


def _variant(like: Mark, taken: Mapping[str, Mark]) -> Mark:
    """A mark of the same colour with a marker that is not used yet, or with other dashes if all markers are used."""
    used = {(m.marker, m.dashes) for m in taken.values() if m.colour == like.colour}
    markers = {marker for marker, _ in used}
    if like.marker not in markers:
        return like
    free = [marker for marker in MARKERS if marker not in markers]
    styles = [d for d in DASHES if d != like.dashes] or list(DASHES)
    if free:
        return Mark(like.colour, free[0], styles[len(used) % len(styles)])
    pairs = [(marker, dashes) for dashes in DASHES for marker in MARKERS if (marker, dashes) not in used]
    return Mark(like.colour, *(pairs or [(like.marker, like.dashes)])[0])


def _mark(place: int) -> Mark:
    dashes = DASHES[place // len(COLOURS) % len(DASHES)]
    return Mark(COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)], dashes)


def part_colours(names: Sequence[str]) -> dict[str, str]:
    """Modality -> colour, by its place among the modalities of the comparison."""
    return {name: PARTS[i % len(PARTS)] for i, name in enumerate(names)}


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorate a figure function: it draws in the common look, and matplotlib's settings are restored afterwards.

    The layout is settled here, once: the same in every format, and saving need not find it again.
    """

    @wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(RC):
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()
            for axes in figure.axes:
                _spread_ticks(axes)
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
            return figure

    return inside


def _spread_ticks(axes: Axes) -> None:
    """Reduce the ticks of the x axis if the labels of those that matplotlib has chosen touch each other."""
    if not isinstance(axes.xaxis.get_major_locator(), AutoLocator):
        return
    for most in TICKS:
        boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
        if all(b.x0 - a.x1 >= BLANK * DPI for a, b in pairwise(boxes)):
            return
        axes.xaxis.set_major_locator(MaxNLocator(most))


class Drawing(Figure):
    """A figure that a notebook shows as the value of a cell, also without `%matplotlib inline`."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        width, height = (round(SCREEN * inches) for inches in self.get_size_inches())
        return render(self, "png"), {"width": width, "height": height}


def canvas(width: float, height: float) -> Figure:
    """An empty figure in inches whose layout makes room for labels, legends and notes."""
    return Drawing(figsize=(width, height), layout="constrained")


def shorten(labels: Iterable[str], longest: int = 24) -> tuple[dict[str, str], list[str]]:
    """Label -> text of at most `longest` characters; and a note for each shortened one, with its number and full text.

    A shortened text keeps the part in which its label differs from the others.
    """
    texts: dict[str, str] = {}
    notes: list[str] = []
    brief = own_parts(labels, longest - len(" (1)"))
    for label in brief:
        if len(label) <= longest:
            texts[label] = literal(label)
        else:
            tail = f" ({len(notes) + 1})"
            texts[label] = literal(cut(brief[label], brief.values(), longest - len(tail)) + tail)
            notes.append(f"({len(notes) + 1}) {label}")
    return texts, notes


def list_canvas(labels: Iterable[str], height: float) -> tuple[Figure, dict[str, str], list[str]]:
    """An empty figure that lists lines, with the result of `shorten`; it is wide as a page if many labels are long."""
    short = shorten(labels)
    wide = len(short[1]) > FEW
    return canvas(PAGE if wide else COLUMN, height), *(shorten(labels, LONG) if wide else short)


def list_rows(axes: Axes, texts: Sequence[str]) -> None:
    """Name the rows 0, 1, ... of a figure that lists methods, the first on top."""
    axes.set_yticks(range(len(texts)), texts)
    axes.set_ylim(len(texts) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(True, axis="x")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)


def notes_below(figure: Figure, notes: Sequence[str]) -> None:
    """Write small text below the axes, one line per note, with long ones wrapped; the figure grows by their height."""
    width, height = figure.get_size_inches()
    lines = [line for note in notes if note for line in _wrap(literal(note), width - 0.1)]
    if lines:
        figure.set_size_inches(width, height + len(lines) * SMALL * 1.25 / 72)
        figure.supxlabel("\n".join(lines), fontsize=SMALL, color=GREY, ha="left", x=0.012, linespacing=1.15)


def literal(text: str) -> str:
    r"""A text that matplotlib draws as it is, on one line: without control characters, and not as a formula.

    >>> literal("$x$")
    '\\$x\\$'
    """
    return in_line(text).replace("$", r"\$")


def text_width(text: str, size: float) -> float:
    """The width of a text in inches, a little too large, as hinting makes small glyphs some per cent wider."""
    font = FontProperties(family=RC["font.sans-serif"], size=size)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) / 72 * 1.04


def _wrap(text: str, width: float) -> list[str]:
    """Lines of at most `width` inches, broken at spaces; the second and later ones are indented."""
    first, *words = text.split(" ")
    lines = [first]
    for word in words:
        longer = f"{lines[-1]} {word}"
        if text_width(longer, SMALL) <= width:
            lines[-1] = longer
        else:
            lines.append(f"  {word}")
    return lines


def legend_above(figure: Figure, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """One legend above all axes, in as many columns as the widest label leaves room for; the figure grows with it."""
    if not handles:
        return
    width, height = figure.get_size_inches()
    columns = max(1, min(len(handles), int(width / (0.5 + max(text_width(label, SMALL) for label in labels)))))
    rows = -(-len(handles) // columns)
    figure.set_size_inches(width, height + rows * SMALL * 1.55 / 72)
    figure.legend(handles, labels, loc="outside upper left", ncols=columns)


def handle(mark: Mark, line: bool = True) -> Line2D:
    """The entry of a mark in a legend."""
    return Line2D([], [], color=mark.colour, marker=mark.marker, ls=mark.dashes if line else "none",
                  markersize=mark.size(4))  # fmt: skip


def render(figure: Figure, form: str, dpi: int = DPI) -> bytes:
    """The figure as a png, svg or pdf file, byte for byte the same for the same figure."""
    out = io.BytesIO()
    with matplotlib.rc_context(RC):
        figure.savefig(out, format=form, dpi=dpi, metadata=NO_DATE[form])
    return out.getvalue()


def rendered(figure: Figure, formats: Sequence[str] = FORMATS) -> dict[str, bytes]:
    """Format -> the figure as a file of it. KeyError for an unknown format."""
    return {form: render(figure, form) for form in formats}


def write_files(files: Mapping[str, bytes], folder: Path, stem: str) -> list[Path]:
    """Write `folder/stem.FORMAT` for each format; returns the paths."""
    for form, content in files.items():
        write_whole(folder / f"{stem}.{form}", content)
    return [folder / f"{stem}.{form}" for form in files]


def save(figure: Figure, folder: Path, stem: str, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write `folder/stem.FORMAT` for each format; returns the paths. KeyError for an unknown format."""
    return write_files(rendered(figure, formats), folder, stem)
