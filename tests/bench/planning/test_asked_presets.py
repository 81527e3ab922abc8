"""Presets that say the same about a run share it: it is trained once and stands in the tables of each of them."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from mcr_bench.bench.analysis.comparisons import asked_under, comparisons
from mcr_bench.bench.analysis.published_match import Runs, values_in_points
from mcr_bench.bench.executors.local import LocalExecutor
from mcr_bench.bench.planning.plan import Plan
from mcr_bench.bench.record.runs import StoredRun, preset_tags
from mcr_bench.bench.record.tracking import Record
from mcr_bench.cli import app
from mcr_bench.tests.bench.record.test_tracking import Spec
from mcr_bench.tests.support.records.recorded import execute
from mcr_bench.tests.support.records.report_contents import row
from mcr_bench.tests.support.records.tabled import comparison_tables

ASKED = {"tuned": {"origin": "tuned here", "overrides": "epochs=9"}}
SHARED = {"presets": json.dumps(ASKED), "preset_origin": "paper"}


def lacking(reason: str) -> dict[str, str]:
    return {"missing": json.dumps({reason: ["test/accuracy"]})}


@dataclass(frozen=True)
class Asked(Spec):
    """As much of a RunSpec as plan and record use."""

    preset: str = "small"
    preset_origin: str = "paper"
    overrides: str = ""
    dependencies: tuple[Any, ...] = ()

    def tags(self) -> dict[str, str]:
        return super().tags() | {"preset": self.preset, "preset_origin": self.preset_origin}


def stored(key: str, status: str = "FINISHED", started: int = 0, **tags: str) -> StoredRun:
    return StoredRun(f"{key}-{started}", status, started, {}, {}, {"key": key, "preset": "small"} | tags)


def test_a_run_stands_in_the_table_of_every_preset_it_was_asked_for_under() -> None:
    rows = [row("joint", 0, 0.5, tags=SHARED), row("other", 0, 0.6, preset="tuned")]
    small, tuned = comparison_tables(rows, "joint")
    assert [line[0] for line in small.rows] == ["joint"]
    assert [line[0] for line in tuned.rows] == ["joint [epochs=9]", "other"]
    assert "preset small: paper" in small.notes
    assert "preset tuned: tuned here" in tuned.notes


def test_a_plan_shows_only_the_presets_that_it_asks_for() -> None:
    (found,) = comparisons([asked_under(row("joint", 0, 0.5, tags=SHARED), ["tuned"])], "joint")
    assert (found.preset, found.shared) == ("tuned", ("epochs=9",))


def test_published_numbers_find_the_run_under_each_preset() -> None:
    (setups,) = Runs([row("joint", 0, 0.5, tags=SHARED)]).by_target.values()
    assert {(setup.preset, setup.settings) for setup in setups} == {
        ("small", frozenset()),
        ("tuned", frozenset(["epochs=9"])),
    }


def test_published_numbers_stand_beside_finite_values_only() -> None:
    values = (0.5, math.nan, None)
    assert values_in_points([row("joint", 0, 0.5, metrics={"test/accuracy": v}) for v in values], "accuracy") == [50.0]


def test_finished_runs_without_a_finite_value_are_left_out_with_a_note() -> None:
    runs = [row("joint", 0, 0.5), row("joint", 1, math.nan), row("joint", 2, 0.7), row("lost", 0, None)]
    runs += [row("nan", 0, None, tags=lacking("its value is nan")), row("one", 0, None, tags=lacking("of one class"))]
    (table,) = comparison_tables(runs, "joint")
    assert [(line[0], line[table.columns.index("n")]) for line in table.rows] == [("joint", 2)]
    told = {note.partition(",")[0]: note for note in table.notes if "without a finite test accuracy: " in note}
    assert told["left out: joint"].endswith("accuracy: no reason is on record; train it again (run --force)")
    assert "seed 0" in told["left out: lost"]
    assert "its value is nan, as its predictions" in told["left out: nan"]
    assert "lower optimizer.lr" in told["left out: nan"]
    assert "of one class; choose a protocol or fold" in told["left out: one"]


def test_plans_of_several_presets_keep_each_of_them() -> None:
    plan, other = Plan(), Plan()
    plan.add(Asked("k"), requested=True)
    other.add(Asked("k", preset="tuned"), requested=False)
    plan.merge(other)
    assert list(plan.by_preset["k"]) == ["small", "tuned"]
    assert [run.preset for run in plan.runs] == ["small"]


def test_only_finished_runs_that_lack_the_preset_are_tagged() -> None:
    runs = [stored("new"), stored("known", presets=json.dumps(ASKED)), stored("open", "RUNNING")]
    wanted: Any = [Asked(key, preset="tuned", preset_origin="here") for key in ("new", "known", "open", "absent")]
    assert preset_tags(runs, wanted) == {"new-0": json.dumps({"tuned": {"origin": "here", "overrides": ""}})}
    assert preset_tags(runs, [Asked("new")]) == {}  # type: ignore[list-item]


def test_a_run_trained_again_keeps_the_presets_of_the_first() -> None:
    runs = [stored("k", preset_origin="paper"), stored("k", started=1, preset="tuned")]
    (tag,) = preset_tags(runs, []).values()
    assert list(json.loads(tag)) == ["small"]


def test_the_record_keeps_every_preset_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    record, spec = Record(home=tmp_path), Asked("0" * 20)
    record.start(spec)  # type: ignore[arg-type]
    record.finish(spec, {"test/accuracy": 0.5})  # type: ignore[arg-type]
    record.add_presets([Asked(spec.key, preset="tuned")])  # type: ignore[list-item]
    (found,) = record.rows()
    assert list(found.asked) == ["small", "tuned"]


EXPERIMENT = """
methods = ["joint", "unimodal"]
datasets = ["synthetic"]
seeds = 2

[set]
epochs = 2
dataset.shared = 0.5
dataset.unique = "0.3/0.2"
dataset.train = 60
dataset.val = 40
dataset.test = 50

[[comparison]]
preset = "balanced"
"""
BOTH = EXPERIMENT + '\n[[comparison]]\npreset = "imbalanced"\n'
TITLE = re.compile(r"^synthetic · .* · preset (\w+)", re.MULTILINE)


def call(*arguments: str) -> Result:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done


@pytest.mark.parametrize(
    "files",
    [{"first": EXPERIMENT, "second": EXPERIMENT.replace("balanced", "imbalanced")}, {"both": BOTH}],
    ids=["one after the other", "in one plan"],
)
def test_a_run_of_two_comparisons_is_trained_once_and_stands_in_both(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With these settings the presets differ in nothing that a run depends on.

    The plan of both trains; two commands only pretend to.
    """
    if len(files) > 1:
        monkeypatch.setattr(LocalExecutor, "execute", execute)
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    trained = []
    for name, text in files.items():
        (tmp_path / f"{name}.toml").write_text(text)
        done = call("run", str(tmp_path / f"{name}.toml"), "--jobs", "1")
        trained += re.findall(r"(\d+) to train", done.stderr)
    assert trained == ["6", "0"][: len(files)]
    rows = Record().rows()
    assert len(rows) == 6
    assert {row.preset for row in rows} == {"balanced"}
    assert {tuple(row.other_presets) for row in rows} == {("imbalanced",)}
    for verb in ("compare --baseline joint", "tables"):
        titles = TITLE.findall(call(*verb.split()).stdout)
        assert set(titles) == {"balanced", "imbalanced"}, verb
    found = json.loads(call("compare", "--baseline", "joint", "--json").stdout)["comparisons"]
    assert [TITLE.findall(one["title"]) for one in found] == [["balanced"], ["imbalanced"]]
