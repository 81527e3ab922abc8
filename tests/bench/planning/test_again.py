"""Runs that another version has finished: which of the runs to train count as such."""

from dataclasses import replace
from pathlib import Path

import pytest

from mcr_bench.bench.planning.advice.again import trained_again
from mcr_bench.bench.record.made_rows import value_of
from mcr_bench.bench.record.row import OURS, RunRow
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.tests.support.runs.planned import plain_presets, planned, recorded, save

ONE = "1 run is finished on record with another version of its code or of mcr-bench, and is trained again."
TWO = "2 runs are finished on record with another version of their code or of mcr-bench, and are trained again."


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    plain_presets(monkeypatch)
    return save(tmp_path / "set.npz")


def on_record(run: RunSpec, **changes: object) -> RunRow:
    """The finished row of a run, by an earlier version of its method."""
    row = replace(recorded(run), key="an earlier one", method_digest="an earlier one", config="")
    return replace(row, **changes)  # type: ignore[arg-type]


def test_an_earlier_method_and_an_earlier_program_count(data: str) -> None:
    runs = planned(data, "joint", seeds=(0, 1)).runs
    earlier, here = {"method_digest": "an earlier one"}, {"method_digest": runs[0].method_digest}
    assert trained_again(runs, [on_record(run, **earlier) for run in runs]) == [TWO]
    assert trained_again(runs, [on_record(run, **here, versions={OURS: "0.0.1"}) for run in runs]) == [TWO]
    assert trained_again(runs, [on_record(run, **here) for run in runs]) == []
    assert trained_again(runs[:1], [on_record(run) for run in runs]) == [ONE]
    assert trained_again(runs, []) == []


def test_an_edited_encoder_or_head_counts(data: str) -> None:
    (run,) = planned(data, "joint", seeds=(0,)).runs
    same = {"method_digest": run.method_digest}
    settings = {key: value_of(text) for key, text in run.params().items()}
    for digest in ("encoder.a.kind_digest", "model.fusion_digest"):
        edited = replace(
            run,
            model={**run.model, "fusion_digest": "new"},
            encoders={m: {**inner, "kind_digest": "new"} for m, inner in run.encoders.items()},
        )
        assert digest in edited.params()
        now = {key: value_of(text) for key, text in edited.params().items()}
        assert trained_again([edited], [on_record(edited, **same, settings=now | {digest: "old"})]) == [ONE]
        assert trained_again([edited], [on_record(edited, **same, settings=now)]) == []
    assert trained_again([run], [on_record(run, **same, settings=settings)]) == []


@pytest.mark.parametrize(
    "change",
    [
        {"status": "failed"},
        {"method": "multi-loss"},
        {"data_identity": "other"},
        {"modalities": ("a",)},
        {"fold": 2},
        {"seed": 7},
        {"settings": {"epochs": 3}},
        {"settings": {"encoder.a.kind": "transformer"}},
    ],
)
def test_another_run_does_not(data: str, change: dict[str, object]) -> None:
    runs = planned(data, "joint").runs
    assert trained_again(runs, [on_record(runs[0], **change)]) == []


def test_settings_that_one_version_lacks_do_not_matter(data: str) -> None:
    runs = planned(data, "joint").runs
    few = {"epochs": runs[0].training["epochs"], "a.setting.of.then": 3}
    assert trained_again(runs, [on_record(runs[0], settings=few)]) == [ONE]


def test_what_starts_from_such_a_run_counts_too(data: str) -> None:
    *first, last = planned(data, "uni-pre-frozen", modalities=("a", "b")).runs
    others = {"method_digest": last.method_digest, "dependencies": ("x", "y")}
    rows = [*map(on_record, first), on_record(last, **others)]
    assert trained_again([last], rows) == [ONE]
    slower = [on_record(run, settings={"epochs": 9999}) for run in first]
    assert trained_again([last], [*slower, rows[-1]]) == []
    assert trained_again([last], [on_record(last, method_digest=last.method_digest)]) == []
