"""Runs on several labels or scores per sample, from the file to tables and figures; numbers recomputed by numpy."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest

from mcr_bench.bench.analysis.claims import claims
from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.table import comparison_table
from mcr_bench.bench.commands.reading import read_comparisons
from mcr_bench.bench.figures.error_groups import error_groups
from mcr_bench.bench.figures.style import Missing
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import Event, Job, RunDone
from mcr_bench.bench.training.loop import fit_run
from mcr_bench.tests.support.records.several_files import SPLIT, labels, save, scores

SMALL = {"epochs": ["2"], "batch_size": ["16"], "encoder.width": ["6"], "model.width": ["6"]}
TARGETS = {"labels": labels(), "scores": scores()}


class Trained(NamedTuple):
    """A comparison and its record, the metrics and test predictions of joint training, and the file's targets."""

    comparison: Comparison
    record: Record
    metrics: dict[str, float]
    table: dict[str, Any]
    target: np.ndarray


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield Record(home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module", params=TARGETS)
def trained(request: pytest.FixtureRequest, record: Record, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp(request.param)
    data = save(folder / f"{request.param}.npz", TARGETS[request.param])
    plan = make_plan(Request(["joint", "ensemble"], [str(data)], seeds=[0], overrides=SMALL))
    weights = {run.key: folder / f"{run.key}.pt" for run in plan.runs}
    for spec in plan.runs:
        job = Job(spec, "cpu", folder / spec.key, weights, weights[spec.key])
        events: list[Event] = []
        record.start(spec)
        fit_run(job, events.append)
        done = next(event for event in events if isinstance(event, RunDone))
        record.finish(spec, done.metrics, [job.predictions], done.tags)
        if spec.method == "joint":
            metrics, rows = done.metrics, pq.read_table(job.predictions).to_pandas()
    test = {name: np.stack(list(column)) for name, column in rows[rows.part == "test"].items() if name != "part"}
    (comparison,) = read_comparisons(record, str(data), "joint")
    return Trained(comparison, record, metrics, test, TARGETS[request.param])


def test_predictions_hold_every_label_and_score(trained: Trained) -> None:
    known = trained.target[SPLIT == "test"]
    assert np.array_equal(trained.table["label"], known)
    assert trained.table["logits"].shape == known.shape
    for name in ("modality/a", "split/b", "subset/a", "subset/"):
        assert trained.table[name].shape == known.shape


def test_metrics_follow_from_predictions(trained: Trained) -> None:
    y, z = trained.table["label"], trained.table["logits"]
    right = (z > 0) == (y > 0)
    if trained.target.dtype.kind == "f":
        head, value = "mae", np.abs(z - y).mean()
        wanted = {"pearson": np.mean([np.corrcoef(z[:, k], y[:, k])[0, 1] for k in range(y.shape[1])])}
    else:
        head, value = "subset_accuracy", right.all(1).mean()
        wanted = {
            "hamming_accuracy": right.mean(),
            "micro_f1": 2 * ((z > 0) & (y > 0)).sum() / ((z > 0).sum() + (y > 0).sum()),
        }
    for name, number in ({head: value} | wanted).items():
        assert trained.metrics[f"test/{name}"] == pytest.approx(number, abs=1e-6)
    assert {f"test/modality/a/{head}", "test/contribution/a"} <= trained.metrics.keys()
    alone = trained.table["modality/a"]
    of_alone = np.abs(alone - y).mean() if head == "mae" else ((alone > 0) == (y > 0)).all(1).mean()
    assert trained.metrics[f"test/modality/a/{head}"] == pytest.approx(of_alone, abs=1e-6)


def test_the_floor_is_that_of_the_training_part(trained: Trained) -> None:
    train, test = (trained.target[part == SPLIT] for part in ("train", "test"))
    if trained.target.dtype.kind == "f":
        wanted = {"mae": np.abs(np.median(train, 0) - test).mean(), "pearson": 0}
    else:
        wanted = {"subset_accuracy": ((train.mean(0) > 0.5) == test).all(1).mean(), "auroc": 0.5}
    assert {name: trained.metrics[f"floor/{name}"] for name in wanted} == pytest.approx(wanted, abs=1e-6)


def test_tables_and_tests_read_them(trained: Trained) -> None:
    found = trained.comparison
    (row,) = found.lines["joint"]
    samples = trained.record.samples([row.run_id])[row.run_id]
    head = "mae" if trained.target.dtype.kind == "f" else "subset_accuracy"
    assert samples.score.mean() == pytest.approx(trained.metrics[f"test/{head}"], abs=1e-6)
    table = comparison_table(found, "joint")
    assert f"test {head}" in table.columns
    assert table.rows[-1][0] == ("constant (median)" if head == "mae" else "constant (label shares)")
    (against,) = claims(found, "ensemble", read_samples=trained.record.samples).against
    assert against.samples is not None
    assert bool(against.samples.mcnemar) == (head != "mae")


def test_an_old_record_gets_its_floor_from_predictions(trained: Trained) -> None:
    found = trained.comparison
    (row,) = found.lines["joint"]
    floors = trained.record.floors([row.run_id])[row.run_id]
    val, test = (trained.target[part == SPLIT] for part in ("val", "test"))
    if trained.target.dtype.kind == "f":
        assert floors["mae"] == pytest.approx(np.abs(np.median(val, 0) - test).mean())
    else:
        assert floors["hamming_accuracy"] == pytest.approx(((val.mean(0) > 0.5) == test).mean())


def test_error_groups_are_those_of_right_sets_of_labels(trained: Trained) -> None:
    found = trained.comparison
    if trained.target.dtype.kind == "f":
        with pytest.raises(Missing, match="regression has no right and wrong"):
            error_groups(found, trained.record.samples)
        return
    figure = error_groups(found, trained.record.samples)
    assert "subset accuracy (%)" in [axes.get_ylabel() for axes in figure.axes]
    fewer = replace(found, lines={label: runs for label, runs in found.lines.items() if "unimodal" not in label})
    with pytest.raises(Missing):
        error_groups(fewer, trained.record.samples)
