"""Tables as Markdown, CSV (full precision), LaTeX (booktabs) and HTML, each escaped for its own syntax."""

import html as markup
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from mcr_bench.bench.analysis.names import cut_all
from mcr_bench.bench.analysis.table import Table
from mcr_bench.bench.core.files import write_whole
from mcr_bench.bench.printable import printable, shown
from mcr_bench.bench.report.cells import csv_text

LINE, WIDEST = 80, 24  # characters that fit a line of a LaTeX page; columns of any table meant to be read
MANY, LONGEST = 8, 150  # notes, above which their type is small; characters of a file name without its ending
SIGNS = "–—‘’“”…•†‡€™"  # beyond the Latin alphabets, what pdfLaTeX sets without a package
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
} | {c: f"\\{c}" for c in "&%$#_{}"}


def markdown(table: Table) -> str:
    """A table in GitHub's Markdown, with its title as a heading and its notes as a list."""
    lines = [f"## {plain(table.title)}", "", _pipes(table.columns)]
    lines.append(_pipes(["---", *["---:"] * (len(table.columns) - 1)], escape=False))
    lines += [_pipes(_marked(table, i, row, plain, "**{}**"), escape=False) for i, row in enumerate(table.text())]
    return "\n".join([*lines, "", *(f"- {plain(note)}" for note in table.notes), ""])


def to_csv(table: Table) -> str:
    """The column names and the cells at full precision, as CSV; a value that was not measured is empty."""
    return csv_text([table.columns, *table.rows])


def latex(table: Table) -> str:
    """A `table` environment for the packages booktabs and graphicx, with one note per line below the table.

    A table that is wider than a page is scaled to its width.
    """
    width = len(table.columns)
    marked = [_marked(table, i, row, tex, r"\textbf{{{}}}") for i, row in enumerate(table.text())]
    scaled = sum(max(map(len, column)) + 2 for column in zip(table.columns, *table.text(), strict=True)) > LINE
    return for_engine(
        "\n".join(
            [
                "% needs \\usepackage{booktabs,graphicx}",
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{tex(table.title)}}}",
                *([r"\resizebox{\linewidth}{!}{%"] if scaled else []),
                rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}",
                r"\toprule",
                unopened(" & ".join(map(tex, table.columns))) + r" \\",
                r"\midrule",
                *(unopened(" & ".join(cells)) + r" \\" for cells in marked),
                r"\bottomrule",
                r"\end{tabular}}" if scaled else r"\end{tabular}",
                r"\par\medskip",
                r"\begin{minipage}{\linewidth}\raggedright"
                + (r"\tiny" if len(table.notes) > MANY else r"\footnotesize"),
                *(rf"{tex(note)}\par" for note in table.notes),
                r"\end{minipage}",
                r"\end{table}",
                "",
            ]
        )
    )


def html(table: Table) -> str:
    """A `<section>` with the title, the table and the notes; `data-value` has each number at full precision."""
    head = "".join(f'<th scope="col">{markup.escape(name)}</th>' for name in table.columns)
    rows = "\n".join(_html_row(table, i, texts) for i, texts in enumerate(table.text()))
    notes = "".join(f"<li>{markup.escape(note)}</li>" for note in table.notes)
    return (
        f"<section>\n<h2>{markup.escape(table.title)}</h2>\n<table>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody>\n</table>\n<ul>{notes}</ul>\n</section>\n"
    )


def page(table: Table) -> str:
    """An HTML document with this table alone."""
    title = markup.escape(table.title)
    return f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title>\n{html(table)}</html>\n'


def write_tables(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Write every table in every format to `folder`, in files named after its title; returns the files.

    Tables that are too wide for a page are written as CSV and HTML only.
    """
    written = []
    for stem, table in zip(_stems(tables), tables, strict=True):
        for suffix, write in (("md", markdown), ("csv", to_csv), ("tex", latex), ("html", page)):
            if len(table.columns) > WIDEST and suffix in ("md", "tex"):
                continue
            path = folder / f"{stem}.{suffix}"
            write_whole(path, shown(write(table)))
            written.append(path)
    return written


def _stems(tables: Sequence[Table]) -> list[str]:
    """Names of files, made of `file` or the title of each table; equal names get numbers."""
    names = [table.file or table.title for table in tables]
    stems = [re.sub(r"[^\w.+-]+", "_", name.replace(" + ", "+")).strip("_.+-") or "table" for name in names]
    return cut_all(stems, LONGEST, gap="--")


def _pipes(cells: Sequence[str], escape: bool = True) -> str:
    return "| " + " | ".join(plain(c) if escape else c for c in cells) + " |"


def _marked(table: Table, row: int, texts: Sequence[str], escape: Callable[[str], str], bold: str) -> list[str]:
    """The texts of a row, escaped; those in bold type are put into the pattern `bold`."""
    cells = [escape(text) for text in texts]
    return [bold.format(cell) if table.is_bold(row, i) else cell for i, cell in enumerate(cells)]


def plain(text: str) -> str:
    """A text for Markdown, on one line, its special characters escaped."""
    return re.sub(r"([\\`*_\[\]<>|#~$&])", r"\\\1", printable(" ".join(text.split())))


def tex(text: str) -> str:
    """A text for LaTeX, on one line, its special characters escaped."""
    escaped = "".join(LATEX.get(character, character) for character in printable(" ".join(text.split())))
    return re.sub("-(?=-)", "-{}", escaped)  # two in a row would become a longer dash


def for_engine(text: str) -> str:
    """A LaTeX text, after a comment on the characters for which pdfLaTeX would stop, if it has such."""
    strange = "".join(dict.fromkeys(character for character in text if character > "\u017f" and character not in SIGNS))
    return (
        f"% pdfLaTeX lacks {strange}: use LuaLaTeX or XeLaTeX, with a font that has them\n{text}" if strange else text
    )


def unopened(row: str) -> str:
    """A row whose first character LaTeX does not take for an option of the line end above, as it would [ and *."""
    return f"{{}}{row}" if row.startswith(("[", "*")) else row


def _html_row(table: Table, number: int, texts: Sequence[str]) -> str:
    cells = []
    marked = _marked(table, number, texts, markup.escape, "<strong>{}</strong>")
    for position, (value, cell) in enumerate(zip(table.rows[number], marked, strict=True)):
        full = f' data-value="{value!r}"' if isinstance(value, int | float) else ""
        cells.append(f'<th scope="row">{cell}</th>' if position == 0 else f"<td{full}>{cell}</td>")
    return f"<tr>{''.join(cells)}</tr>"
