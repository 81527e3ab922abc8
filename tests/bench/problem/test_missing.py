"""A diagnostic never fails a run that has trained: it is missing, and the record and the tables say why."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from mcr_bench.bench.analysis.table import missing_notes
from mcr_bench.bench.core import memory
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.problem import metrics
from mcr_bench.bench.problem.missing import diagnostic, only_finite, tag_of
from mcr_bench.bench.record.tags import Tags
from mcr_bench.bench.runs.events import EpochDone, Event, Job, RunDone
from mcr_bench.bench.task import Task
from mcr_bench.bench.training import loop as training
from mcr_bench.bench.training import probes
from mcr_bench.bench.training.after import diagnosis
from mcr_bench.bench.training.loop import fit_run
from mcr_bench.tests.support.records.run_rows import run_row

SMALL = {"epochs": ["2"], "batch_size": ["16"], "encoder.width": ["8"], "model.width": ["6"]}


def write(folder: Path, regression: bool = False) -> Path:
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    x = {f"x_{m}": rng.normal(size=(80, 4)).astype("float32") + y[:, None] for m in "ab"}
    split = np.array(["train", "train", "val", "test"])[np.arange(80) % 4]
    np.savez(folder / "small.npz", y=y + rng.normal(size=80) if regression else y, split=split, **x)
    return folder / "small.npz"


def run(folder: Path, method: str = "joint", regression: bool = False, **settings: str) -> list[Event]:
    overrides = SMALL | {key.replace("__", "."): [value] for key, value in settings.items()}
    spec = make_plan(Request([method], [str(write(folder, regression))], seeds=[0], overrides=overrides)).runs[-1]
    events: list[Event] = []
    fit_run(Job(spec, "cpu", folder / "work", {}, folder / "weights.pt"), events.append)
    return events


def end_of(events: list[Event]) -> tuple[dict[str, float], dict[str, str]]:
    """Metrics and name -> reason of what is missing."""
    end = events[-1]
    assert isinstance(end, RunDone)
    assert {"test/accuracy", "test/mae"} & set(end.metrics)
    return end.metrics, {name: reason for reason, names in Tags(end.tags).missing().items() for name in names}


@pytest.mark.parametrize("method", ["joint", "ogm-ge", "multi-loss", "mlb"])
@pytest.mark.parametrize("rate", ["1e6", "1e9"])
def test_a_rate_that_is_far_too_high_still_ends_finished(method: str, rate: str, tmp_path: Path) -> None:
    result, missing = end_of(run(tmp_path, method, optimizer__lr=rate))
    assert all(np.isfinite(value) for value in result.values())
    lacking = {f"test/modality/{m}/accuracy" for m in "ab"} - set(result)
    assert lacking <= set(missing)


def overflow(*_: Any, **__: Any) -> None:
    raise RuntimeError("value cannot be converted to type float without overflow\nand more")


def nan_head(_: Any, head: torch.nn.Linear, *__: Any) -> None:
    torch.nn.init.constant_(head.weight, float("nan"))


@pytest.mark.parametrize(("fails", "reason"), [(overflow, "without overflow"), (nan_head, "not finite")])
@pytest.mark.parametrize("regression", [False, True])
def test_probe_heads_that_diverge_are_missing(
    fails: Any, reason: str, regression: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes.Probes, "fit_head", fails)
    events = run(tmp_path, regression=regression)
    result, missing = end_of(events)
    metric = "mae" if regression else "accuracy"
    for place in ("val", "selected_val", "test"):
        assert reason in missing[f"{place}/modality/a/{metric}"]
    assert not [name for name in result if "/modality/" in name]
    assert not [name for e in events if isinstance(e, EpochDone) for name in e.metrics if "/modality/" in name]
    assert f"test/contribution/{'a'}" in result
    columns = pq.read_table(tmp_path / "work/predictions.parquet").column_names
    assert {"logits", "split/a", "subset/a"} <= set(columns)
    assert "modality/a" not in columns


def broken(*_: Any, **__: Any) -> Any:
    raise ValueError("not today")


@pytest.mark.parametrize(
    ("place", "name", "lost"),
    [
        (diagnosis, "subset_logits", {"test/subset", "test/contribution", "selected_val/contribution"}),
        (training, "absent_inputs", {"absent_inputs", "test/subset", "test/contribution"}),
        (diagnosis, "contributions", {"test/contribution"}),
        (training, "_features", {"test/modality"}),
        (memory, "peak_mib", {"cost/peak_memory_mib"}),
        (probes.FeatureStore, "take", {"val/modality"}),
    ],
)
def test_any_diagnostic_may_fail(
    place: Any, name: str, lost: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, name, broken)
    result, missing = end_of(run(tmp_path))
    assert lost <= set(missing)
    assert not lost & set(result)


def test_a_secondary_metric_may_fail_but_not_the_one_that_selects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_broken(name: str) -> tuple[metrics.Metric, ...]:
        swap = {name: metrics.Metric(name, True, broken)}
        return tuple(swap.get(m.name, m) for m in metrics.CLASSIFICATION)

    with monkeypatch.context() as patch:
        patch.setattr(metrics, "CLASSIFICATION", with_broken("macro_f1"))
        result, missing = end_of(run(tmp_path))
    assert missing["test/macro_f1"] == "ValueError: not today"
    assert "test/ece" in result
    monkeypatch.setattr(metrics, "CLASSIFICATION", with_broken("accuracy"))
    with pytest.raises(ValueError, match="not today"):
        run(tmp_path)


def test_what_selects_the_epoch_need_not_be_defined_on_the_test_part(tmp_path: Path) -> None:
    arrays = dict(np.load(write(tmp_path)))
    arrays["y"] = np.where(arrays["split"] == "test", 1, np.arange(80) // 4 % 2)  # the test part has one class alone
    np.savez(tmp_path / "one.npz", **arrays)
    overrides = SMALL | {"monitor": ["auroc"]}
    (spec,) = make_plan(Request(["joint"], [str(tmp_path / "one.npz")], seeds=[0], overrides=overrides)).runs
    events: list[Event] = []
    fit_run(Job(spec, "cpu", tmp_path / "work", {}, tmp_path / "weights.pt"), events.append)
    result, missing = end_of(events)
    assert "selected_val/auroc" in result
    assert "test/auroc" not in result
    assert "all positive or all negative" in missing["test/auroc"]


def test_predictions_of_a_subset_that_are_not_finite_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = diagnosis.subset_logits

    def one_infinite(*arguments: Any) -> Any:
        result = original(*arguments)
        result[("a",)][0, 0] = float("inf")
        return result

    monkeypatch.setattr(diagnosis, "subset_logits", one_infinite)
    _, missing = end_of(run(tmp_path))
    assert missing["test/subset/a"] == "its logits are not finite"
    assert missing["test/contribution"] == "a prediction from a subset of the modalities is missing"
    columns = pq.read_table(tmp_path / "work/predictions.parquet").column_names
    assert {c for c in columns if c.startswith("subset/")} == {"subset/", "subset/b"}


def test_the_table_says_what_is_missing_and_in_how_many_runs() -> None:
    tags = tag_of({"test/modality/a/accuracy": "it diverged", "val/modality/a/accuracy": "it diverged"})
    lost, whole = run_row(tags=tags), run_row()
    assert missing_notes({"joint": [lost, whole, lost], "other": [whole]}) == [
        "missing: modality/a/accuracy of joint in 2 of 3 runs: it diverged"
    ]


def test_what_is_missing_of_the_test_part_is_named_first_and_what_is_cut_is_counted() -> None:
    names = [f"{part}/modality/{m}/accuracy" for part in ("selected_val", "test", "val") for m in range(15)]
    row = run_row(tags=tag_of(dict.fromkeys(names, "it diverged")))
    (note,) = missing_notes({"joint": [row]})
    told = note.removeprefix("missing: ").removesuffix(" of joint in 1 of 1 runs: it diverged").split(", ")
    assert sorted(told) == sorted(f"modality/{m}/accuracy" for m in range(15))  # 5 of other parts and the rest follow
    names = [f"{part}/modality/{m}/accuracy" for part in ("test", "val") for m in range(25)]
    (note,) = missing_notes({"joint": [run_row(tags=tag_of(dict.fromkeys(names, "it diverged")))]})
    assert "accuracy, 30 more of all parts of joint in 1 of 1 runs" in note


def test_no_number_is_missing_without_a_word_where_there_are_many_reasons() -> None:
    tags = tag_of({f"test/{i}": f"reason {i}" for i in range(9)})
    lost = {name: reason for reason, names in Tags(tags).missing().items() for name in names}
    assert set(lost) == {f"test/{i}" for i in range(9)}
    assert (lost["test/5"], lost["test/6"]) == ("reason 5", "one of 3 other reasons")
    wide = {f"test/{'m' * 60}{i}/accuracy": "\u00e9" * 190 + str(i % 9) for i in range(400)}
    assert len(tag_of(wide)["missing"]) <= 8000


def test_a_prediction_that_is_nan_is_neither_right_nor_wrong() -> None:
    bad = torch.tensor([[float("nan"), 0.0], [2.0, 1.0]])
    tasks = [
        (Task(2), torch.tensor([0, 0])),
        (Task(None, labels=2), torch.tensor([[0, 0], [1, 1]])),
        (Task(None, scores=2), torch.zeros(2, 2)),
        (Task(None, sentiment=3), torch.zeros(2)),
        (Task(None, sentiment=1), torch.zeros(2)),
    ]
    for task, target in tasks:
        outputs = bad[:, :1] if task.outputs == 1 else bad
        assert all(np.isnan(value) for value in metrics.score(outputs, target, task).values()), task


def fails(error: Exception) -> None:
    raise error


def test_reasons_are_short_and_the_tag_has_an_end() -> None:
    missing: dict[str, str] = {}
    assert diagnostic(missing, "x", lambda: 1 / 0) is None
    assert missing == {"x": "ZeroDivisionError: division by zero"}
    diagnostic(missing, "y", partial(fails, KeyError()))
    diagnostic(missing, "z", partial(fails, ValueError("long " * 99)))
    assert missing.pop("y") == "KeyError"
    assert len(missing["z"]) == 200
    assert missing.pop("z").startswith("ValueError: long long")
    many = {f"test/{i}": "why " * 40 for i in range(999)} | {f"val/{i}": f"{i} " * 60 for i in range(50)}
    assert len(tag_of(many)["missing"]) < 8000  # what MLflow takes
    assert json.loads(tag_of({"a": "b"})["missing"]) == {"b": ["a"]}
    assert tag_of({}) == {}
    assert only_finite({"a": 1.0, "b": float("nan")}, missing) == {"a": 1.0}
    assert missing["b"] == "its value is nan"
