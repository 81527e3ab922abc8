"""The pages of a site as text: everything from records is text there, whatever it looks like."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup

from mcr_bench.bench.analysis.claims import leading
from mcr_bench.bench.analysis.names import cut_all
from mcr_bench.bench.analysis.table import Table, protocol_notes
from mcr_bench.bench.publish.site.board import board_table
from mcr_bench.bench.publish.site.contents import Contents, Entry
from mcr_bench.bench.publish.site.provenance import provenance_markup
from mcr_bench.bench.report.html import page
from mcr_bench.bench.report.html.across import ranks_markup
from mcr_bench.bench.report.html.comparison import line_links, protocol_card, words
from mcr_bench.bench.report.html.contents import Picture
from mcr_bench.bench.report.html.markup import environment, part
from mcr_bench.bench.report.html.pictures import gallery
from mcr_bench.bench.report.html.runs import lines_markup
from mcr_bench.bench.report.html.tables import Line, Shown, grid, table_markup

INDEX, LONGEST = "index.html", 80
COLUMNS = ("dataset", "protocol", "modalities", "preset", "leading by the primary test", "metric", "lines", "runs")
TEMPLATES = environment(Path(__file__).with_name("templates"))


@dataclass(frozen=True)
class Board:
    """The page of a dataset and protocol.

    file: its name.
    title: its title.
    entries: its comparisons.
    """

    file: str
    title: str
    entries: Sequence[Entry]


@dataclass(frozen=True)
class Section:
    """A comparison on its page.

    anchor: its anchor.
    title: its title without the dataset.
    runs: the number of its runs.
    parts: the words, table, protocol card, figures, runs and provenance of the comparison.
    """

    anchor: str
    title: str
    runs: int
    parts: dict[str, Markup]


def site_pages(contents: Contents) -> dict[str, str]:
    """File name -> the text of the page; the same contents give the same bytes."""
    boards = boards_of(contents)
    return {INDEX: _index(contents, boards)} | {board.file: _board(contents, boards, board) for board in boards}


def boards_of(contents: Contents) -> list[Board]:
    """The pages of datasets and protocols, each with a name of its own."""
    stems = [re.sub(r"[^\w.]+", "-", f"{dataset}-{protocol}").strip("-.") for dataset, protocol in contents.boards]
    names = cut_all([f"board-{stem}" for stem in stems], LONGEST, gap="--")
    return [
        Board(f"{name}.html", f"{dataset} · protocol {protocol}", entries)
        for name, ((dataset, protocol), entries) in zip(names, contents.boards.items(), strict=True)
    ]


def _index(contents: Contents, boards: Sequence[Board]) -> str:
    pictures = [one for one in contents.pictures if one.about not in {e.comparison.title for e in contents.entries}]
    return _page(
        "index",
        title="Leaderboard",
        boards=boards,
        table=part("boards", partial(_overview, boards)),
        ranks=part("ranks", partial(ranks_markup, contents.ranks)),
        figures=gallery(pictures, "f", named=True),
        origins=[(name, taken.text) for name, taken in contents.origins.items()],
        left_out=contents.left_out,
    )


def _overview(boards: Sequence[Board]) -> Markup:
    """A line per comparison: which methods lead, and of how many."""
    lines: list[Line] = []
    for board in boards:
        for i, entry in enumerate(board.entries):
            one = entry.comparison
            lead = sorted(leading(entry.claims)[0]) if not isinstance(entry.claims, str) else []
            how = " ".join([one.preset, *one.shared_names, *([f"data {one.data}"] if one.data else [])])
            cells = (one.dataset, one.protocol, " + ".join(one.modalities), how, ", ".join(lead) or "cannot be said")
            first, *rest = map(Shown, (*cells, one.metric, len(one.lines), len(one.rows)))
            place = Shown(first.text, link=f"c{i}", page=board.file)
            lines.append(((*cells, one.metric, len(one.lines), len(one.rows)), [place, *rest]))
    return grid("Leaderboards", COLUMNS, lines)


def _board(contents: Contents, boards: Sequence[Board], board: Board) -> str:
    sections = [_section(contents, entry, f"c{i}") for i, entry in enumerate(board.entries)]
    return _page("board", title=board.title, boards=boards, sections=sections, file=board.file)


def _section(contents: Contents, entry: Entry, anchor: str) -> Section:
    one = entry.comparison
    pictures: list[Picture] = [picture for picture in contents.pictures if picture.about == one.title]
    parts = {
        "words": part("the result in words", partial(words, entry.claims)),
        "table": part("table", partial(_table, contents, entry, anchor)),
        "protocol": part("protocol", partial(protocol_card, one)),
        "figures": gallery(pictures, f"{anchor}-f"),
        "lines": part("runs and settings", partial(lines_markup, one, anchor)),
        "provenance": part("provenance", partial(provenance_markup, one, contents.sources)),
    }
    return Section(anchor, one.title.removeprefix(f"{one.dataset} · "), len(one.rows), parts)


def _table(contents: Contents, entry: Entry, anchor: str) -> Markup:
    one = entry.comparison
    table: Table = board_table(one, entry.claims, contents.cost_baseline, contents.sources)
    links = line_links(one, list(one.lines), anchor)
    return table_markup(table, one.title, links, leave_out=protocol_notes(one))


def _page(template: str, **values: object) -> str:
    style, script = files(page.__package__) / "page.css", files(page.__package__) / "page.js"
    code = Markup(script.read_text(encoding="utf-8"))
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    own = (files(__package__) / "site.css").read_text(encoding="utf-8")
    css = Markup(style.read_text(encoding="utf-8") + own)
    frame = {"style": css, "script": code, "script_digest": digest, "index": INDEX}
    return Markup(TEMPLATES.get_template(f"{template}.html").render(frame | values))
