"""A record that an earlier version wrote: every verb reads it, and a run of it that is trained again is told."""

import csv
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from statistics import fmean, stdev

import pytest
from click.testing import Result
from typer.testing import CliRunner

from mcr_bench.cli import app
from mcr_bench.tests.support.records.earlier import COMMAND, unpack, values

SEEDS = (0, 1, 2)
BOTH = "m1,m2"
AGAIN = "are finished on record with another version of their code or of mcr-bench, and are trained again."


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def said(*arguments: str) -> str:
    done = call(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("earlier") / "home"
    unpack(home)
    return home


@pytest.fixture(autouse=True)
def home(unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of the record, which every command here reads."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MCR_BENCH_HOME", str(unpacked))
    monkeypatch.chdir(tmp_path)
    return unpacked


def accuracies(home: Path, method: str, modalities: str = BOTH) -> list[float]:
    known = values(home)
    return [known[method, modalities, seed] for seed in SEEDS]


def test_results_give_every_run_with_its_value(home: Path) -> None:
    rows = json.loads(said("results", "--json"))
    assert len(rows) == len(values(home)) == 15
    assert {row["status"] for row in rows} == {"finished"}
    joint = {row["seed"]: row["value"] for row in rows if row["method"] == "joint"}
    assert [joint[seed] for seed in SEEDS] == accuracies(home, "joint")
    single = {(row["label"].split(" [")[0], row["seed"]): row["value"] for row in rows if row["method"] == "unimodal"}
    for m in ("m1", "m2"):
        assert [single[f"unimodal ({m})", seed] for seed in SEEDS] == accuracies(home, "unimodal", m)


def test_results_give_the_value_of_each_modality(home: Path) -> None:
    with closing(sqlite3.connect(home / "mlflow.db")) as database:
        query = """SELECT m.value FROM latest_metrics m JOIN tags t ON t.run_uuid = m.run_uuid
                   WHERE t.key = 'key' AND t.value = ? AND m.key = 'test/modality/' || ? || '/accuracy'"""
        for row in json.loads(said("results", "--json", "--method", "multi-loss")):
            for m in ("m1", "m2"):
                ((expected,),) = database.execute(query, [row["key"], m])
                assert row["unimodal"][m] == expected


def test_compare_tests_the_differences(home: Path) -> None:
    (one,) = json.loads(said("compare", "--json", "--baseline", "joint"))["comparisons"]
    joint = accuracies(home, "joint")
    for line in one["against"]:
        own = accuracies(home, line["method"])
        assert line["n"] == 3
        assert line["mean"] == pytest.approx(100 * fmean(own))
        difference = fmean(a - b for a, b in zip(own, joint, strict=True))
        assert line["difference"] == pytest.approx(100 * difference)
    assert {line["method"] for line in one["against"]} == {"multi-loss", "uni-pre-frozen"}
    assert all(line["secondary"]["runs"] == 3 for line in one["against"])  # the predictions could be read


def test_tables_hold_means_and_deviations(home: Path) -> None:
    said("tables", "--published", "mine", "--dataset", "synthetic")
    lines = {}
    for path in (home / "tables").rglob("*.csv"):
        with path.open(encoding="utf-8") as file:
            lines |= {line["method"]: line for line in csv.DictReader(file) if "test accuracy" in line and "sd" in line}
    for method in ("joint", "multi-loss", "uni-pre-frozen"):
        own = accuracies(home, method)
        assert float(lines[method]["test accuracy"]) == pytest.approx(fmean(own))
        assert float(lines[method]["sd"]) == pytest.approx(stdev(own))
    assert float(lines["unimodal (m1)"]["test accuracy"]) == pytest.approx(fmean(accuracies(home, "unimodal", "m1")))


def test_the_report_shows_them(home: Path, tmp_path: Path) -> None:
    said("report", "--output", str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for method in ("joint", "multi-loss", "uni-pre-frozen"):
        assert f"{fmean(accuracies(home, method)):.4f}" in page


def test_what_a_new_version_trains_again_is_told_once_with_its_count() -> None:
    plan = json.loads(said(*COMMAND, "--plan", "--json"))
    assert [row["state"] for row in plan["runs"]] == ["to train"] * 15
    assert [text for text in plan["announcements"] if "version" in text] == [f"15 runs {AGAIN}"]
    assert said(*COMMAND, "--plan").count(AGAIN) == 1


@pytest.mark.parametrize(
    ("more", "count"),
    [
        (("--methods", "joint"), 3),
        (("--methods", "joint,mcr"), 3),
        (("--methods", "uni-pre-frozen", "--seeds", "2"), 6),
        (("--methods", "multi-loss", "--seeds", "5"), 3),
        (("--methods", "joint", "--set", "patience=3"), 0),
        (("--methods", "joint", "--set", "dataset.amplitude=3"), 0),
        (("--methods", "uni-pre-frozen", "--set", "unimodal.epochs=9"), 0),
        (("--methods", "joint", "--modalities", "m1"), 0),
    ],
)
def test_only_runs_with_the_same_settings_on_the_same_data_count(more: tuple[str, ...], count: int) -> None:
    plan = json.loads(said(*COMMAND, *more, "--plan", "--json"))
    told = [text for text in plan["announcements"] if "version" in text]
    assert told == ([f"{count} runs {AGAIN}"] if count else [])


def test_what_is_trained_again_is_told_before_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpack(tmp_path / "home")
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path / "home"))
    one = (*COMMAND, "--methods", "joint", "--seeds", "2,", "--jobs", "1")
    told = "1 run is finished on record with another version of its code or of mcr-bench, and is trained again."
    assert call(*one).stderr.count(told) == 1
    assert len(json.loads(said("results", "--json"))) == 16
    assert "version of its method" not in said(*one, "--plan")  # it is finished with this one now
