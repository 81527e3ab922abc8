"""The table of a paper as LaTeX (booktabs), Markdown, CSV and HTML; and the publications of its methods as BibTeX."""

import html as markup
import re
from collections.abc import Callable, Iterator

from mcr_bench.bench.report.cells import csv_text
from mcr_bench.bench.report.export import for_engine, plain, tex, unopened
from mcr_bench.bench.report.paper.contents import Line, PaperTable

LABEL = "tab:mcr-bench"


def latex(table: PaperTable, digits: int) -> str:
    """A `table` environment for booktabs, with caption, label and citations; notes below it."""
    head = ["Method", *(tex(column.title) for column in table.columns)]
    return for_engine(
        "\n".join(
            [
                "% needs \\usepackage{booktabs}; citations: the .bib file beside this one",
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{tex(table.caption)}}}",
                rf"\label{{{LABEL}}}",
                rf"\begin{{tabular}}{{l{'c' * len(table.columns)}}}",
                r"\toprule",
                rf"{' & '.join(head)} \\",
                r"\midrule",
                *_rows(table, digits),
                r"\bottomrule",
                r"\end{tabular}",
                r"\par\medskip",
                r"\begin{minipage}{\linewidth}\raggedright\footnotesize",
                *(rf"{tex(note)}\par" for note in table.notes),
                r"\end{minipage}",
                r"\end{table}",
                "",
            ]
        )
    )


def _rows(table: PaperTable, digits: int) -> Iterator[str]:
    before = table.lines[0].role if table.lines else ""
    for line in table.lines:
        if line.role == "method" != before:
            yield r"\midrule"
        before = line.role
        cite = rf"~\cite{{{key}}}" if (key := citation(line)) else ""
        yield unopened(rf"{tex(line.title)}{cite} & {' & '.join(_tex_cells(table, line, digits))} \\")


def _tex_cells(table: PaperTable, line: Line, digits: int) -> Iterator[str]:
    for column in table.columns:
        cell = column.cells.get(line.label)
        if cell is None:
            yield "--"
            continue
        text = cell.text(digits, r"$\pm$")
        text = rf"\underline{{{text}}}" if cell.best else text
        yield rf"\textbf{{{text}}}" if cell.bold else text


def markdown(table: PaperTable, digits: int) -> str:
    """A table in GitHub's Markdown: bold by the primary test, the best mean underlined, notes as a list."""
    lines = [["Method", *(plain(column.title) for column in table.columns)]]
    lines.append(["---", *["---:"] * len(table.columns)])
    for line in table.lines:
        lines.append([plain(line.title), *_marked(table, line, digits, "<u>{}</u>", "**{}**")])
    rows = [f"| {' | '.join(cells)} |" for cells in lines]
    return "\n".join([plain(table.caption), "", *rows, "", *(f"- {plain(note)}" for note in table.notes), ""])


def to_csv(table: PaperTable, _: int) -> str:
    """One line per method; of each column the mean and deviation at full precision, whether it is bold, and n runs."""
    parts = ("mean", "sd", "bold", "n")
    written: list[list[object]] = [
        ["method", *(f"{column.title} {part}" for column in table.columns for part in parts)]
    ]
    for line in table.lines:
        cells = [column.cells.get(line.label) for column in table.columns]
        values = [[one.mean, one.sd, str(one.bold).lower(), one.n] if one else [""] * len(parts) for one in cells]
        written.append([line.title, *(value for each in values for value in each)])
    return csv_text(written)


def html(table: PaperTable, digits: int) -> str:
    """A document with this table alone."""
    head = "".join(f'<th scope="col">{markup.escape(column.title)}</th>' for column in table.columns)
    rows = "\n".join(
        f'<tr><th scope="row">{markup.escape(line.title)}</th>'
        + "".join(f"<td>{cell}</td>" for cell in _marked(table, line, digits, "<u>{}</u>", "<strong>{}</strong>"))
        + "</tr>"
        for line in table.lines
    )
    notes = "".join(f"<li>{markup.escape(note)}</li>" for note in table.notes)
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Results</title>\n'
        f'<table>\n<caption>{markup.escape(table.caption)}</caption>\n<thead><tr><th scope="col">Method</th>{head}</tr>'
        f"</thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n<ul>{notes}</ul>\n</html>\n"
    )


def _marked(table: PaperTable, line: Line, digits: int, under: str, bold: str) -> Iterator[str]:
    for column in table.columns:
        cell = column.cells.get(line.label)
        text = "-" if cell is None else cell.text(digits, "±")
        text = under.format(text) if cell is not None and cell.best else text
        yield bold.format(text) if cell is not None and cell.bold else text


def citation(line: Line) -> str:
    """The key of the publication of a row, such as `ogm-ge2022`; empty for what comes from no publication."""
    year = _year(line)
    return f"{line.method.name}{year}" if line.method is not None and year else ""


def _year(line: Line) -> str:
    reference = getattr(line.method, "reference", None)
    years = re.findall(r"\b(?:19|20)\d\d\b", reference.venue) if reference else []
    if not years and reference and re.match(r"\d\d\d\d\.", reference.arxiv):
        return f"20{reference.arxiv[:2]}"
    return years[-1] if years else ""


def bibtex(table: PaperTable) -> str:
    """One entry per publication. Cards name no authors, so that the entries have none: fill them in."""
    entries = dict.fromkeys(_entry(line) for line in table.lines if citation(line))
    return "\n".join(["% from the cards of the methods, which name no authors: add them", *entries, ""])


def _entry(line: Line) -> str:
    assert line.method is not None
    reference = line.method.reference
    fields = {"title": f"{{{tex(reference.title)}}}", "year": _year(line), "howpublished": tex(_venue(reference.venue))}
    if reference.arxiv:
        fields |= {"eprint": reference.arxiv, "archiveprefix": "arXiv"}
    inner = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items() if value)
    return f"@misc{{{citation(line)},\n{inner}\n}}"


def _venue(venue: str) -> str:
    """A venue without its year, which has a field of its own."""
    return re.sub(r"\s*\b(?:19|20)\d\d\b", "", venue).strip()


FORMATS: dict[str, tuple[str, Callable[[PaperTable, int], str]]] = {
    "latex": ("tex", latex),
    "markdown": ("md", markdown),
    "csv": ("csv", to_csv),
    "html": ("html", html),
}
