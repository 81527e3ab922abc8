"""The floor from a training to a table: of new runs from training labels, of old ones from predictions."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mcr_bench.bench.analysis.table import comparison_table
from mcr_bench.bench.commands.reading import read_comparisons
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.report.html.comparison import section_markup
from mcr_bench.bench.report.html.contents import Section
from mcr_bench.bench.runs.events import Event, Job, RunDone
from mcr_bench.bench.training.loop import fit_run
from mcr_bench.tests.support.records import many_runs

PARTS = np.array(["train"] * 40 + ["val"] * 12 + ["test"] * 12)


def final_metrics(folder: Path, y: np.ndarray) -> dict[str, float]:
    """Of one epoch of joint training on these labels."""
    rng = np.random.default_rng(0)
    inputs = {f"x_{m}": rng.normal(size=(len(y), 4)).astype("float32") for m in "ab"}
    np.savez(folder / "set.npz", y=y, split=PARTS, **inputs)
    values = {"epochs": ["1"], "encoder.width": ["4"], "model.width": ["4"]}
    (spec,) = make_plan(Request(["joint"], [str(folder / "set.npz")], seeds=[0], overrides=values)).runs
    events: list[Event] = []
    fit_run(Job(spec, "cpu", folder / "work", {}, folder / "weights.pt"), events.append)
    return next(event.metrics for event in events if isinstance(event, RunDone))


def test_a_classification_logs_its_majority_class(tmp_path: Path) -> None:
    train = [2] * 22 + [0] * 9 + [1] * 9
    y = np.array([*train, *[0, 1, 2] * 4, *[0] * 6, *[2] * 5, 1])
    metrics = final_metrics(tmp_path, y)
    assert metrics["floor/accuracy"] == pytest.approx(5 / 12)
    assert metrics["floor/macro_f1"] == pytest.approx((2 * 5 / (12 + 5)) / 3)


def test_a_regression_logs_its_median_in_the_unit_of_its_labels(tmp_path: Path) -> None:
    y = np.random.default_rng(1).normal(150.0, 40.0, len(PARTS)).round(2)
    metrics = final_metrics(tmp_path, y)
    ordered = sorted(y[:40])
    constant = (ordered[19] + ordered[20]) / 2
    assert metrics["floor/mae"] == pytest.approx(np.abs(y[-12:] - constant).mean(), rel=1e-5)
    assert metrics["floor/pearson"] == 0


def test_an_old_record_has_it_from_its_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    record = Record(home=tmp_path / "home")
    for spec in many_runs.specs(methods=4, datasets=1, seeds=2):
        many_runs.record_run(record, spec, tmp_path)
    (found,) = read_comparisons(record, None, "joint")
    labels = pq.read_table(tmp_path / "predictions.parquet", columns=["part", "label"]).to_pandas()
    val, test = (labels.label[labels.part == part] for part in ("val", "test"))
    table = comparison_table(found, "joint")
    assert table.rows[-1][1] == pytest.approx((test == val.value_counts().idxmax()).mean())
    assert "constant (majority class)" in section_markup(Section(found, "none"), [], "joint", "c0")
    for path in record.home.rglob("predictions.parquet"):
        path.unlink()
    (bare,) = read_comparisons(record, None, "joint")
    assert comparison_table(bare, "joint").floor is None
