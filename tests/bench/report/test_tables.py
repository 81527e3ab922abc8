"""Tables: rows of a record -> the right groups, numbers, order and warnings; exports are escaped."""

import csv
import io
import json
import math
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mcr_bench.bench.analysis.table import Table
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.report.export import html, latex, markdown, page, to_csv, write_tables
from mcr_bench.bench.report.published_table import published_tables
from mcr_bench.bench.report.results import results_csv, write_csv
from mcr_bench.bench.report.terminal import plan_rows, print_tables, table_data
from mcr_bench.tests.support.records.run_rows import run_row
from mcr_bench.tests.support.records.tabled import comparison_tables

BOTH = "audio,video"


def row(method: str, seed: int, value: float | None, **changes: Any) -> RunRow:
    """One finished run of `method`; `tags`, `params` and `metrics` in `changes` are laid over the defaults."""
    modalities = changes.pop("modalities", BOTH)
    defaults: dict[str, Any] = {
        "key": f"{method}{seed}{modalities}",
        "label": f"{method} ({modalities})" if method == "unimodal" else method,
        "preset": "small",
        "modalities": modalities,
        "protocol_card": "official: three actors",
        "unimodal": dict.fromkeys(modalities.split(","), 0.5),
        "seconds": 3.0,
        "seconds_per_step": 0.01,
        "run_id": "r",
        "started": float(seed),
    }
    params = {"optimizer.name": "adam", "optimizer.lr": "0.001"} | changes.pop("params", {})
    tested = {} if value is None else {"test/macro_f1": 0.25}
    metrics = tested | changes.pop("metrics", {})
    return run_row(method, seed, value, params=params, metrics=metrics, **defaults | changes)


def only(tables: list[Table]) -> Table:
    assert len(tables) == 1
    return tables[0]


def cells(table: Table, label: str) -> dict[str, Any]:
    return next(dict(zip(table.columns, line, strict=True)) for line in table.rows if line[0] == label)


def test_mean_sample_deviation_and_count_by_hand() -> None:
    table = only(comparison_tables([row("joint", s, v) for s, v in enumerate((0.5, 0.7, 0.9))], "joint"))
    line = cells(table, "joint")
    assert line["test accuracy"] == pytest.approx(0.7)
    assert line["sd"] == pytest.approx(0.2)  # squares .04 + 0 + .04 over n - 1 = 2
    assert (line["n"], line["macro-F1"], line["audio"]) == (3, 0.25, 0.5)
    assert table.text()[0][1:4] == ["0.7000", "0.2000", "3"]
    assert any("n - 1" in note for note in table.notes)


def test_one_run_has_no_deviation() -> None:
    table = only(comparison_tables([row("joint", 0, 0.5)], "joint"))
    assert "sd" not in table.columns


def test_rows_are_ordered_by_role_then_by_mean() -> None:
    runs = [row("bad", 0, 0.1), row("good", 0, 0.9), row("joint", 0, 0.5), row("ensemble", 0, 0.2)]
    runs += [row("unimodal", 0, 0.3, modalities="audio"), row("unimodal", 0, 0.4, modalities="video")]
    table = only(comparison_tables(runs, "joint"))
    expected = ["unimodal (video)", "unimodal (audio)", "ensemble", "joint", "good", "bad"]
    assert [line[0] for line in table.rows] == expected


def test_a_metric_that_should_be_low_is_ordered_upwards() -> None:
    runs = [row("a", 0, 0.9, metric="mae"), row("b", 0, 0.2, metric="mae", metrics={"test/pearson": 0.4})]
    table = only(comparison_tables(runs, "joint"))
    assert [line[0] for line in table.rows] == ["b", "a"]
    assert cells(table, "b")["Pearson r"] == 0.4
    assert cells(table, "a")["Pearson r"] is None


@pytest.mark.parametrize("change", [{"protocol": "other"}, {"dataset": "other"}, {"tags": {"data_identity": "e"}}])
def test_protocols_datasets_and_data_never_mix(change: dict[str, Any]) -> None:
    tables = comparison_tables([row("joint", 0, 0.1), row("joint", 1, 0.9, **change)], "joint")
    assert [cells(t, "joint")["n"] for t in tables] == [1, 1]


def test_unimodal_runs_join_every_set_that_holds_their_modality() -> None:
    runs = [row("unimodal", 0, 0.3, modalities=m) for m in ("a", "b", "c")]
    runs += [row("joint", 0, 0.5, modalities=m) for m in ("a,b", "a,b,c")]
    two, three = comparison_tables(runs, "joint")
    assert {line[0] for line in two.rows} == {"unimodal (a)", "unimodal (b)", "joint"}
    assert {line[0] for line in three.rows} == {"unimodal (a)", "unimodal (b)", "unimodal (c)", "joint"}


def test_presets_are_tables_of_their_own() -> None:
    small, paper = comparison_tables([row("joint", 0, 0.1), row("joint", 0, 0.9, preset="paper")], "joint")
    assert (small.rows[0][:2], paper.rows[0][:2]) == (("joint", 0.1), ("joint", 0.9))
    assert paper.title == "toy · audio + video · protocol official · preset paper"


def test_runs_from_before_a_change_are_left_out_with_a_note() -> None:
    old = [row("joint", s, 0.1, tags={"config": "old"}, started=s) for s in (0, 1)]
    table = only(comparison_tables([row("joint", 0, 0.9, started=9.0), *old], "joint"))
    assert cells(table, "joint")["test accuracy"] == 0.9
    assert any(note.startswith("left out: 2 older runs") for note in table.notes)


def test_costs_are_ratios_to_the_baseline() -> None:
    cost = {"cost/encoder_forwards": 2.0, "cost/encoder_backwards": 2.0, "cost/peak_memory_mib": 100.0}
    slow = row("slow", 0, 0.9, seconds_per_step=0.03, metrics=cost | {"cost/encoder_forwards": 6.0})
    line = cells(only(comparison_tables([row("joint", 0, 0.5, metrics=cost), slow], "joint")), "slow")
    assert line["× step time"] == pytest.approx(3.0)
    assert (line["× forwards"], line["× backwards"], line["× memory"]) == (3.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("params", "scales", "warned"),
    [
        ({}, "true", True),
        ({"optimizer.name": "adamw"}, "true", True),
        ({"optimizer.name": "sgd"}, "true", False),
        ({"slow.apply_to": "lr"}, "true", False),
        ({"slow.apply_to": "gradient"}, "true", True),
        ({}, "false", False),
    ],
)
def test_warns_where_adam_cancels_gradient_scaling(params: dict[str, str], scales: str, warned: bool) -> None:
    run = row("slow", 0, 0.5, params=params, tags={"scales_gradients": scales})
    notes = only(comparison_tables([run], "joint")).notes
    assert any(note.startswith("WARNING") and "slow" in note for note in notes) is warned


def test_notes_name_protocol_optimisers_skipped_and_failed() -> None:
    failed = row("bad", 3, None, status="failed", tags={"failure": "ValueError: diverged"})
    sgd = row("other", 0, 0.4, params={"optimizer.name": "sgd", "optimizer.lr": "0.1"})
    skipped = [("toy", "picky", "needs M = 2"), ("elsewhere", "shy", "no")]
    notes = only(comparison_tables([row("joint", 0, 0.5), sgd, failed], "joint", skipped)).notes
    assert "protocol official: three actors" in notes
    assert "optimiser: adam, lr 0.001 (joint)" in notes
    assert "optimiser: sgd, lr 0.1 (other)" in notes
    assert "left out: picky: needs M = 2" in notes
    assert "FAILED: bad, seed 3: ValueError: diverged" in notes
    assert not any("shy" in note for note in notes)


def test_a_failure_that_was_mended_is_not_reported() -> None:
    mended = [row("a", 0, None, status="failed"), row("a", 0, 0.5, started=2.0)]
    assert not any(note.startswith("FAILED") for note in only(comparison_tables(mended, "joint")).notes)


def test_a_table_in_which_everything_failed_still_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    table = only(comparison_tables([row("a", 0, None, status="failed")], "joint"))
    assert table.rows == []
    assert any(note.startswith("FAILED: a, seed 0") for note in table.notes)
    print_tables(Console(), [table])
    title, *notes = capsys.readouterr().out.strip().splitlines()
    assert (title, notes) == (table.title, [f"  {note}" for note in table.notes])
    assert not any("modality columns" in note for note in notes)


def test_several_folds_are_named_with_the_deviation() -> None:
    table = only(comparison_tables([row("a", s, 0.5, fold=f) for s, f in ((0, 1), (1, 2))], "joint"))
    assert "folds 1, 2" in table.notes[0]


def test_the_order_of_the_rows_of_the_record_does_not_matter() -> None:
    runs = [row(m, s, 0.5) for m in ("x", "joint", "y") for s in (2, 0, 1)]
    assert comparison_tables(runs, "joint") == comparison_tables(runs[::-1], "joint")


TRICKY = Table(
    r"a_b & c|d · 50 % {x} \n",
    ("method", "acc_1", "sd"),
    (0, 4, 4),
    [(r"a|b_*c*", 1 / 3, None)],
    ["<b> #1 ~ ^ $"],
)


def test_markdown_cells_cannot_break_the_table() -> None:
    lines = markdown(TRICKY).splitlines()
    assert lines[2] == r"| method | acc\_1 | sd |"
    assert lines[3] == "| --- | ---: | ---: |"
    assert lines[4] == r"| a\|b\_\*c\* | 0.3333 | - |"
    assert r"\<b\> \#1" in lines[6]


def test_latex_escapes_every_special_character() -> None:
    text = latex(TRICKY)
    assert r"\caption{a\_b \& c\textbar{}d $\cdot$ 50 \% \{x\} \textbackslash{}n}" in text
    assert r"a\textbar{}b\_*c* & 0.3333 & - \\" in text
    assert r"\textless{}b\textgreater{} \#1 \textasciitilde{} \textasciicircum{} \$" in text
    assert text.count(r"\begin{") == text.count(r"\end{") == 3
    assert text.index(r"\toprule") < text.index(r"\midrule") < text.index(r"\bottomrule")


def test_html_escapes_and_keeps_full_precision() -> None:
    text = page(TRICKY)
    assert "<h2>a_b &amp; c|d · 50 % {x} \\n</h2>" in text
    assert f'<td data-value="{1 / 3!r}">0.3333</td>' in text
    assert "<li>&lt;b&gt; #1 ~ ^ $</li>" in text
    assert '<th scope="row">a|b_*c*</th>' in text


def test_leading_rows_are_bold_in_their_name_and_main_number_only() -> None:
    table = Table("t", ("method", "acc", "sd"), (0, 2, 2), [("a_b", 0.5, 0.1), ("c", 0.4, 0.2)], [], frozenset({0}))
    assert markdown(table).splitlines()[4:6] == [r"| **a\_b** | **0.50** | 0.10 |", "| c | 0.40 | 0.20 |"]
    assert r"\textbf{a\_b} & \textbf{0.50} & 0.10 \\" in latex(table)
    assert "<strong>a_b</strong>" in html(table)
    assert html(table).count("<strong>") == 2
    assert table_data(table)["leading"] == ["a_b"]


WIDE = Table("wide & tall", tuple(f"column_{i}" for i in range(20)), (2,) * 20, [(0.5,) * 20] * 60, ["note % _"] * 20)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_and_stays_on_the_page(tmp_path: Path) -> None:
    published = [table for table in published_tables([]) if len(table.columns) <= 24]
    body = "\\clearpage\n".join(map(latex, [TRICKY, WIDE, *published]))
    packages = r"\usepackage{booktabs,graphicx}"
    text = rf"\documentclass{{article}}{packages}\begin{{document}}{body}\end{{document}}"
    (tmp_path / "all.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull \\hbox" not in done.stdout
    assert len(published) >= 5


def test_tables_that_fit_no_page_are_not_typeset(tmp_path: Path) -> None:
    long = Table("long", tuple(map(str, range(30))), (0,) * 30, [(1,) * 30], [])
    assert {path.suffix for path in write_tables([long], tmp_path)} == {".csv", ".html"}


def test_file_names_stay_short_and_different(tmp_path: Path) -> None:
    names = [path.name for path in write_tables([replace(TRICKY, title="x" * 400)] * 2, tmp_path)]
    assert len(set(names)) == 8
    assert max(map(len, names)) < 200


def test_csv_keeps_full_precision() -> None:
    assert list(csv.reader(io.StringIO(to_csv(TRICKY)))) == [
        ["method", "acc_1", "sd"],
        [r"a|b_*c*", repr(1 / 3), ""],
    ]


def test_every_table_gets_files_of_its_own(tmp_path: Any) -> None:
    written = write_tables([TRICKY, TRICKY], tmp_path / "tables")
    assert len({path.name for path in written}) == 8
    assert {path.suffix for path in written} == {".md", ".csv", ".tex", ".html"}
    assert all(path.read_text() for path in written)


def test_terminal_shows_every_column_on_a_narrow_screen() -> None:
    console = Console(file=io.StringIO(), width=40)
    print_tables(console, comparison_tables([row("joint", s, 0.5 + s / 10) for s in range(3)], "joint"))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[0].strip() == "toy · audio + video · protocol official · preset small"
    assert lines[1].split()[:5] == ["method", "test", "accuracy", "sd", "n"]
    assert lines[2].split()[:4] == ["joint", "0.6000", "0.1000", "3"]
    assert lines[2].split()[-1] == "1.00"


def test_json_of_a_table_is_strict() -> None:
    data = table_data(only(comparison_tables([row("joint", 0, 0.5)], "joint")))
    assert json.loads(json.dumps(data, allow_nan=False))["rows"][0]["test accuracy"] == 0.5


def test_results_csv_has_one_column_per_modality() -> None:
    lines = list(
        csv.DictReader(io.StringIO(results_csv([row("joint", 0, 1 / 3), row("u", 1, 0.5, modalities="text")])))
    )
    assert math.isclose(float(lines[0]["value"]), 1 / 3, rel_tol=0)
    assert (lines[0]["unimodal.audio"], lines[0]["unimodal.text"], lines[1]["unimodal.text"]) == ("0.5", "", "0.5")


class _Run:
    """What a plan row reads of a run."""

    def __init__(self, key: str, dependencies: "tuple[_Run, ...]" = ()) -> None:
        self.key, self.dependencies = key, dependencies
        self.label, self.dataset, self.protocol, self.preset = "m", "toy", "official", "small"
        self.modalities, self.fold, self.seed = ("a",), 1, 0


def test_plan_rows_say_what_is_finished_and_what_depends_on_what() -> None:
    first = _Run("k1")
    plan: Any = type("P", (), {"runs": [first, _Run("k2", (first,))], "requested": {"k2"}})
    rows = plan_rows(plan, {"k1"})
    assert [(r["state"], r["reason"], r["needs"]) for r in rows] == [
        ("finished", "dependency", ""),
        ("to train", "requested", "k1"),
    ]


def test_settings_that_all_runs_share_stand_in_the_title_and_others_in_the_labels() -> None:
    runs = [
        row("joint", 0, 0.5, label="joint [epochs=5]", tags={"overrides": "epochs=5"}),
        row("x", 0, 0.6, label="x [epochs=5 x.a=1]", tags={"overrides": "epochs=5 x.a=1", "config": "1"}),
        row("x", 0, 0.7, label="x [epochs=5 x.a=2]", tags={"overrides": "epochs=5 x.a=2", "config": "2"}),
    ]
    table = only(comparison_tables(runs, "joint"))
    assert table.title == "toy · audio + video · protocol official · preset small · epochs=5"
    assert [line[0] for line in table.rows] == ["joint", "x [x.a=2]", "x [x.a=1]"]
    mixed = only(comparison_tables([*runs, row("y", 0, 0.1)], "joint"))
    assert mixed.title.endswith("preset small")
    assert mixed.rows[0][0] == "joint [epochs=5]"


def test_what_trains_nothing_costs_nothing_comparable() -> None:
    free = {"epochs": 0.0, "cost/encoder_forwards": 0.0}
    runs = [row("ensemble", 0, 0.5, metrics=free), row("joint", 0, 0.5, metrics={"cost/encoder_forwards": 1.0})]
    table = only(comparison_tables(runs, "joint"))
    assert (cells(table, "ensemble")["× step time"], cells(table, "ensemble")["× forwards"]) == (None, None)
    assert cells(table, "joint")["× forwards"] == 1.0


def test_notes_fit_the_table() -> None:
    skipped = [("toy", "p", "needs M = 2"), ("toy", "q", "needs M = 2"), ("toy", "r", "no")]
    notes = only(comparison_tables([row("joint", 0, 0.5, metric="mae")], "joint", skipped)).notes
    assert not any(note.startswith("sd:") for note in notes)
    assert {"mae: lower is better", "left out: p, q: needs M = 2", "left out: r: no"} <= set(notes)


def test_a_csv_that_cannot_be_written_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="Give a file in a folder you may write to"):
        write_csv([], tmp_path / "file" / "runs.csv")
