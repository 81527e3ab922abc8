"""A part that fails is told with the error's type and text, in figures, tables and sections; Ctrl-C is no failure."""

import errno
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from mcr_bench.bench.analysis.claims import claims
from mcr_bench.bench.commands import reading, running
from mcr_bench.bench.commands.drawing import pictures_of, save_figures
from mcr_bench.bench.commands.reading import show_claims
from mcr_bench.bench.core.guard import attempt
from mcr_bench.bench.errors import UserError, error_at_end, in_words, one_line
from mcr_bench.bench.figures import catalog
from mcr_bench.bench.figures.catalog import CARDS, Drawn, Sources, all_figures
from mcr_bench.bench.planning.plan import Plan
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.report import results
from mcr_bench.bench.report.html import comparison as html
from mcr_bench.bench.report.html.page import report_page
from mcr_bench.bench.report.results import write_csv
from mcr_bench.bench.runs.events import Failure
from mcr_bench.tests.support.records import report_contents
from mcr_bench.tests.support.records.claimed_runs import compared, noisy
from mcr_bench.tests.support.records.figure_rows import compared as lines
from mcr_bench.tests.support.records.figure_rows import line, small
from mcr_bench.tests.support.runs.hooked import array_file, runs_of

HEAD = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    x()\n      ^^^\n'


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("x"), "ValueError: x"),
        (ValueError("first\nsecond\n\n"), "ValueError: first\nsecond"),
        (KeyError("ensemble"), "KeyError: 'ensemble'"),
        (ValueError(""), "ValueError"),
        (Silent(), "Silent"),
        (UserError("no such file. Bring one."), "no such file. Bring one."),
    ],
)
def test_an_error_is_its_type_and_its_text(error: Exception, said: str) -> None:
    assert in_words(error) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "ValueError: x\n", "ValueError: x"),
        (HEAD + "RuntimeError: no:\n\tcopying a\n\tcopying b\n\n", "RuntimeError: no:\n\tcopying a\n\tcopying b"),
        (HEAD + "KeyError: 'a'\n\nDuring handling of the above exception, another exception occurred:\n\n" + HEAD
         + "ValueError: two\nlines\n", "ValueError: two\nlines"),
        (HEAD + "AssertionError\n", "AssertionError"),
        ("needs joint, which failed", "needs joint, which failed"),
        ("two lines\nof a refusal\n", "two lines\nof a refusal"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_traceback_is_told_by_the_whole_message_at_its_end(text: str, said: str) -> None:
    assert error_at_end(text) == said


def test_one_line_joins_lines_and_is_cut_at_its_end() -> None:
    assert one_line("ValueError: a\n\tb \n") == "ValueError: a b"
    assert one_line("x" * 50, 10) == "x" * 9 + "…"


def test_what_fails_becomes_words_and_ctrl_c_goes_on_upwards() -> None:
    assert attempt(lambda: 3, str) == 3
    assert attempt(lambda: {}["x"], str) == "KeyError: 'x'"

    def stopped() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt(stopped, str)


def closed(*_: Any, **__: Any) -> Any:
    raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_an_output_that_nobody_reads_any_more_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BrokenPipeError):
        attempt(closed, str)
    monkeypatch.setattr(results, "write_whole", closed)
    with pytest.raises(BrokenPipeError):
        write_csv([], Path("/dev/null"))


def broken(*_: Any, **__: Any) -> Any:
    raise KeyError("ensemble")


@pytest.mark.parametrize("name", ["methods", "pareto", "sweeps", "rank_diagram", "contribution"])
def test_a_figure_that_fails_leaves_the_others(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {d.card.name: isinstance(d.result, Figure) for d in all_figures([small()], Sources("base"))}
    monkeypatch.setattr(catalog, name, broken)
    found = list(all_figures([small()], Sources("base")))
    assert {d.card.name for d in found} == set(CARDS)
    failed = [d.card.name for d in found if d.result == "KeyError: 'ensemble'"]
    assert len(failed) == 1
    assert all(isinstance(d.result, Figure) for d in found if whole[d.card.name] and d.card.name not in failed)


def test_a_figure_that_cannot_be_rendered_is_said_with_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, good = Figure(), Figure()
    bad.text(0, 0, r"$\nosuchsymbol$")
    drawn = [Drawn("a", bad, CARDS["forest"], "toy"), Drawn("b", good, CARDS["methods"], "toy")]
    written = save_figures(drawn, tmp_path)
    assert {path.name for path in written} == {"b.png", "b.svg", "b.pdf"}
    said = capsys.readouterr().err
    assert said.startswith("left out: forest of toy: ValueError: ")
    assert "nosuchsymbol" in said
    shown = list(pictures_of(drawn))
    assert [isinstance(one.image, bytes) for one in shown] == [False, True]


@pytest.mark.parametrize("name", ["words", "comparison_table", "protocol_card", "claim_tables", "lines_markup"])
def test_a_part_of_the_page_that_fails_leaves_the_others(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = report_contents.contents(report_contents.runs(6))
    monkeypatch.setattr(html, name, broken)
    text = report_contents.Parsed(report_page(made)).text
    assert "left out: " in text
    assert "KeyError: 'ensemble'" in text
    assert "Environment" in text
    assert ("Command" in text) == (name != "protocol_card")


def test_a_picture_that_is_no_svg_is_left_out() -> None:
    rows = report_contents.runs(6)
    title = report_contents.compared(rows)[0].title
    bad = report_contents.picture(title)
    made = report_contents.contents(rows, pictures=[bad.__class__(**{**vars(bad), "image": b"<svg"})])
    assert "left out: Methods: ParseError: " in report_page(made)


def test_a_comparison_whose_tables_fail_leaves_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [compared({"ensemble": noisy(0), "up": noisy(0.1, 1)}, dataset=name) for name in ("a", "b")]
    made = [claims(one, "ensemble") for one in found]
    whole = reading.claim_tables
    monkeypatch.setattr(reading, "claim_tables", lambda one: broken() if one is made[0] else whole(one))
    show_claims(made, [], found, as_json=False)
    said = capsys.readouterr()
    assert f"left out: {found[0].title}: KeyError: 'ensemble'" in said.err
    assert f"{found[1].title} · all pairs" in said.out


def test_ranks_have_a_mark_for_methods_whose_lines_all_have_settings() -> None:
    first = lines(line("ensemble [epochs=1]", [0.6, 0.7], "ensemble"), line("joint [epochs=1]", [0.5, 0.6]),
                  line("joint [epochs=2]", [0.5, 0.6]))  # fmt: skip
    found = {d.card.name: d.result for d in all_figures([first], Sources("joint"), ["ranks"])}
    assert isinstance(found["ranks"], Figure)


def test_tables_that_fail_after_training_leave_the_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(running, "comparisons", broken)
    running.show_outcome(Plan(), [], [], Record(home=tmp_path), "joint", as_json=True)
    said = capsys.readouterr()
    assert said.err == "left out: tables: KeyError: 'ensemble'\n"
    assert '"tables": []' in said.out


def test_the_line_of_a_failed_run_has_no_full_stop_before_its_log(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (spec,) = runs_of("joint", array_file(tmp_path / "set.npz"))
    failure = Failure(spec, "no training sample has it (--modalities).", tmp_path / "log.txt")
    running.show_outcome(Plan(), [failure], [], Record(home=tmp_path), "joint", as_json=True)
    assert f"seed 1: no training sample has it (--modalities); log: {failure.log}\n" in capsys.readouterr().err
