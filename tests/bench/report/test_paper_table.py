"""`tables --paper`: methods as rows, datasets as columns, marked by the primary test, in four formats; it compiles."""

import csv
import io
import math
import shutil
import statistics
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mcr_bench.bench.analysis.claims import claims
from mcr_bench.bench.analysis.comparisons import comparisons
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.report.export import plain
from mcr_bench.bench.report.paper.contents import Cell, Column, Line, PaperTable, paper_table
from mcr_bench.bench.report.paper.formats import bibtex, html, latex, markdown, to_csv
from mcr_bench.cli import app
from mcr_bench.methods import BASELINE, COST_BASELINE
from mcr_bench.tests.support.records.recorded import pretend, save

METHODS = ("joint", "ensemble", "ogm-ge", "mcr")


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """Two sets: four methods with seven seeds on one, two of them on the other, which is a regression."""
    home = tmp_path_factory.mktemp("paper")
    record = Record(home=home)
    pretend(record, save(home / "one_set.npz"), *METHODS, seeds=list(range(7)))
    pretend(record, save(home / "two.npz", regression=True), "joint", "ensemble", seeds=list(range(3)))
    return record


@pytest.fixture(scope="module")
def table(record: Record) -> PaperTable:
    known = [one for name in ("one_set.npz", "two.npz") for one in comparisons(record.rows(name), COST_BASELINE)]
    return paper_table(known, [claims(one, BASELINE) for one in known])


def test_cells_are_means_and_deviations_of_the_runs(record: Record, table: PaperTable) -> None:
    values = [100 * float(row.value or 0) for row in record.rows("one_set.npz", "mcr")]
    cell = table.columns[0].cells["mcr"]
    assert cell.mean == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert cell.sd == pytest.approx(statistics.stdev(values), abs=1e-9)


@pytest.mark.parametrize("name", [name for name in registry.dataset_names() if name != "arrays"])
def test_every_dataset_has_a_short_name_for_its_column(name: str) -> None:
    title = registry.dataset(name).card.title.partition(":")[0].partition(" (")[0]
    assert len(title) <= 24


def test_a_method_that_is_not_registered_is_named_below(record: Record) -> None:
    (one,) = comparisons(record.rows("one_set.npz"), COST_BASELINE)
    lines = {"mine" if label == "mcr" else label: runs for label, runs in one.lines.items()}
    lines["mine"] = [replace(run, method="mine", label="mine") for run in lines["mine"]]
    changed = replace(one, lines=lines)
    notes = paper_table([changed], [claims(changed, BASELINE)]).notes
    assert notes[-1].startswith(
        "mine: no title and no citation, as only those of registered methods are known; add them"
    )
    assert not any("no citation" in note for note in paper_table([one], [claims(one, BASELINE)]).notes)


def test_the_best_mean_is_underlined_and_bold_follows_the_primary_test(record: Record, table: PaperTable) -> None:
    for column, name in zip(table.columns, ("one_set.npz", "two.npz"), strict=True):
        (one,) = comparisons(record.rows(name), COST_BASELINE)
        means = {label: statistics.fmean(float(row.value or 0) for row in runs) for label, runs in one.lines.items()}
        kept = {label: mean for label, mean in means.items() if not label.startswith("unimodal")}
        best = (min if column.metric == "mae" else max)(kept, key=lambda label: kept[label])
        assert [label for label, cell in column.cells.items() if cell.best] == [best]
        made = claims(one, BASELINE)
        bold = made.better or ({BASELINE, *made.neither} if made.power and made.power.reachable else set())
        assert {label for label, cell in column.cells.items() if cell.bold} == bold & column.cells.keys()


def test_bold_type_follows_the_metric_of_the_cells(record: Record) -> None:
    rows = [
        replace(
            row, value=value, metrics=row.metrics | {"test/accuracy": value, "test/loss": 10 * value + row.seed / 9}
        )
        for row in record.rows("one_set.npz")
        if not row.label.startswith("unimodal")
        for value in [0.9 if row.method == "mcr" else 0.1 if row.method == "joint" else 0.5]
    ]
    (one,) = comparisons(rows, COST_BASELINE)
    for metric, bold in (("accuracy", {"mcr"}), ("loss", {"joint"})):
        (column,) = paper_table([one], [claims(one, BASELINE, metric)], None, metric).columns
        assert {label for label, cell in column.cells.items() if cell.bold} == bold
        assert {label for label, cell in column.cells.items() if cell.best} == bold


def test_methods_without_the_metric_have_no_row_and_one_note(record: Record) -> None:
    rows = [row for row in record.rows("one_set.npz") if not row.label.startswith("unimodal")]
    with_loss = [
        replace(row, metrics=row.metrics | {"test/loss": math.inf if row.method == "joint" else 1.0})
        if row.method in ("ensemble", "joint")
        else row
        for row in rows
    ]
    (one,) = comparisons(with_loss, COST_BASELINE)
    made = paper_table([one], ["no test"], None, "loss")
    assert [line.label for line in made.lines] == ["ensemble"]
    assert not any("no result" in note for note in made.notes)
    asked = paper_table([one], ["no test"], ["joint", "mcr", "ensemble"], "loss")
    assert "one_set.npz: no result of joint, mcr: no finite test loss on record" in asked.notes


def test_what_latex_would_change_or_stop_at() -> None:
    cell = Cell(50.0, None, False, False, 7)
    title = "a--b---c 数据"
    column = Column(title, "accuracy", {title: cell}, ())
    text = latex(PaperTable((Line(title, title, "method", None),), (column,), "caption"), 1)
    assert text.startswith("% pdfLaTeX lacks 数据: use LuaLaTeX or XeLaTeX, with a font that has them\n% needs")
    assert "a-{}-b-{}-{}-c 数据 & 50.0" in text
    assert plain("~~a~~ &lt; $x$") == r"\~\~a\~\~ \&lt; \$x\$"
    assert Cell(1e30, 2e29, False, False, 7).text(1, "±") == "1.0e+30 ± 2.0e+29"


def test_simple_baselines_come_first_and_names_are_those_of_papers(table: PaperTable) -> None:
    assert [line.title for line in table.lines] == ["Joint training", "Ensemble", "MCR", "OGM-GE"]


def test_rows_and_columns_come_as_they_are_asked_for(record: Record) -> None:
    (one,) = comparisons(record.rows("one_set.npz"), COST_BASELINE)
    asked = paper_table([one], [claims(one, BASELINE)], ["mcr", "unimodal", "joint"])
    assert [line.label for line in asked.lines] == ["mcr", "unimodal (m1)", "unimodal (m2)", "joint"]


@pytest.mark.parametrize(("methods", "metric"), [(["agm"], None), (None, "beauty")])
def test_what_is_not_on_record_is_refused(record: Record, methods: list[str] | None, metric: str | None) -> None:
    (one,) = comparisons(record.rows("one_set.npz"), COST_BASELINE)
    with pytest.raises(UserError, match=r"unknown (method|metric) on record"):
        paper_table([one], [claims(one, BASELINE)], methods, metric)


def test_a_missing_cell_is_a_dash_with_its_reason(table: PaperTable) -> None:
    assert "mcr" not in table.columns[1].cells
    assert any("two.npz: no result of mcr, ogm-ge: not on record" in note for note in table.notes)
    row = next(line for line in latex(table, 1).splitlines() if line.startswith("MCR"))
    assert row.endswith(r"& -- \\")


def test_latex_has_caption_label_citations_and_an_entry_for_each(table: PaperTable) -> None:
    text, bib = latex(table, 1), bibtex(table)
    assert r"\caption{Test accuracy in \%; mae, lower is better: mean" in text
    assert r"\label{tab:mcr-bench}" in text
    assert r"one\_set.npz" in text
    assert r"OGM-GE~\cite{ogm-ge2022}" in text
    for key in ("ogm-ge2022", "mcr2025"):
        assert f"@misc{{{key}," in bib
    assert text.count("$\\pm$") == sum(
        cell.sd is not None for column in table.columns for cell in column.cells.values()
    )


def test_the_other_formats_hold_the_same_numbers(table: PaperTable) -> None:
    cell = table.columns[0].cells["joint"]
    assert cell.text(2, "±") in markdown(table, 2)
    assert cell.text(2, "±") in html(table, 2)
    rows = list(csv.DictReader(io.StringIO(to_csv(table, 1))))
    assert float(rows[0]["one_set.npz mean"]) == cell.mean
    counts = {row["method"]: [row[f"{column.title} n"] for column in table.columns] for row in rows}
    assert counts["Joint training"] == ["7", "3"]
    assert counts["MCR"] == ["7", ""]


def test_digits_and_single_runs() -> None:
    assert Cell(86.04, None, False, False, 7).text(1, "±") == "86.0"
    assert Cell(86.04, 1.0, False, False, 7).text(3, "±") == "86.040 ± 1.000"


def test_every_shipped_method_has_a_title_of_its_own() -> None:
    titles = [registry.method(name).title for name in registry.shipped_methods()]
    assert all(titles)
    assert len(set(titles)) == len(titles)


@pytest.fixture
def _home(record: Record, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MCR_BENCH_HOME", str(record.home))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_home")
def test_the_verb_writes_one_file_in_the_format_of_its_ending(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["tables", "--paper", "--datasets", "one_set.npz", "--output", "t.md"])
    assert done.exit_code == 0, done.output
    assert "| Joint training |" in (tmp_path / "t.md").read_text()
    assert "two.npz" not in (tmp_path / "t.md").read_text()


@pytest.mark.usefixtures("_home")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["tables", "--digits", "2"], "belong to --paper"),
        (["tables", "--paper", "--format", "word"], "unknown --format 'word'"),
        (["tables", "--paper", "--output", "t.doc"], "its ending tells no format"),
        (["tables", "--paper", "--datasets", "moon"], "unknown dataset on record 'moon'"),
    ],
)
def test_wrong_options_are_refused(arguments: list[str], told: str) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert told in done.output


DOCUMENT = r"""\documentclass{article}
\usepackage{booktabs}
\begin{document}
\input{paper.tex}
\bibliographystyle{plain}
\bibliography{paper}
\end{document}
"""


@pytest.mark.usefixtures("_home")
def test_the_table_compiles(tmp_path: Path) -> None:
    if (
        not all(map(shutil.which, ("pdflatex", "bibtex", "kpsewhich")))
        or subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True).returncode
    ):
        pytest.skip("LaTeX with booktabs is missing")
    done = CliRunner().invoke(app, ["tables", "--paper", "--output", "paper.tex"])
    assert done.exit_code == 0, done.output
    (tmp_path / "main.tex").write_text(DOCUMENT)
    for command in (["pdflatex", "main"], ["bibtex", "main"], ["pdflatex", "main"], ["pdflatex", "main"]):
        extra = ["-interaction=nonstopmode", "-halt-on-error"] if command[0] == "pdflatex" else []
        ran = subprocess.run([command[0], *extra, command[1]], cwd=tmp_path, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout
    assert "undefined" not in ran.stdout
    assert (tmp_path / "main.pdf").stat().st_size > 10_000
