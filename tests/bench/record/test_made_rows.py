"""Rows of the record: what a run of the store says, typed; what a person has spoilt is left out with a note."""

import json
import math
from dataclasses import replace

import pytest

from mcr_bench.bench.record.made_rows import Unreadable, row_of, row_or_why, rows_of, value_of
from mcr_bench.bench.record.row import Asked, Costs, RunRow
from mcr_bench.bench.record.runs import StoredRun
from mcr_bench.bench.settings.arguments import LARGEST_SEED, seeds_of
from mcr_bench.tests.support.records.run_rows import stored_run

WHOLE = StoredRun(
    run_id="f00d",
    status="FINISHED",
    started=1_700_000_000_500,
    metrics={
        "epochs": 7.0,
        "best_epoch": 5.0,
        "test/accuracy": 0.75,
        "test/macro_f1": 0.5,
        "test/modality/voice/accuracy": 0.25,
        "test/modality/left hand/accuracy": 0.5,
        "floor/accuracy": 0.125,
        "data/train_samples": 80.0,
        "data/val_samples": 9.0,
        "data/test_samples": 11.0,
        "data/bayes_accuracy": 0.9,
        "cost/seconds": 12.5,
        "cost/encoder_backwards": math.nan,
        "cost/peak_memory_mib": 3.0,
        "train/loss/joint": 0.1,
    },
    params={"epochs": "7", "agm.alpha": "0.30", "dataset.rates": "0.2/0.1", "optimizer.lr": "1e-05", "flag": "True"},
    tags={
        "key": "0123",
        "method": "agm",
        "role": "method",
        "label": "agm [epochs=7]",
        "dataset": "hands.npz",
        "protocol": "file",
        "fold": "2",
        "seed": "109",
        "preset": "paper",
        "preset_origin": "the paper",
        "overrides": "epochs=7",
        "protocol_card": "a split",
        "metric": "accuracy",
        "config": "c0",
        "data_identity": "d0",
        "fingerprint": "f0",
        "method_digest": "m0",
        "modalities": "voice,left hand",
        "scales_gradients": "true",
        "complete_from": "3",
        "version": "0.2.0",
        "dependencies": "aa,bb",
        "dataset_source": "data/hands.npz",
        "source": "./agm.py",
        "presets": json.dumps({"default": {"origin": "ours", "overrides": "epochs=7 x=1"}}),
        "missing": json.dumps({"too few samples": ["test/ece", "val/ece"]}),
        "version/torch": "2.9",
        "version/python": "3.12",
        "commit": "abc+changes",
        "device": "cuda:1",
        "device/name": "NVIDIA H100",
        "precision": "bf16",
        "deterministic": "true",
        "platform": "Linux",
        "mlflow.user": "somebody",
        "a note of mine": "keep",
    },
    ended=1_700_000_020_000,
    artifacts="file:///home/x/artifacts",
)
EXPECTED = RunRow(
    key="0123",
    run_id="f00d",
    status="finished",
    method="agm",
    label="agm [epochs=7]",
    role="method",
    source="./agm.py",
    method_digest="m0",
    scales_gradients=True,
    complete_from=3,
    dataset="hands.npz",
    dataset_source="data/hands.npz",
    fingerprint="f0",
    data_identity="d0",
    modalities=("voice", "left hand"),
    protocol="file",
    protocol_card="a split",
    fold=2,
    seed=109,
    preset="paper",
    preset_origin="the paper",
    overrides="epochs=7",
    other_presets={"default": Asked("ours", "epochs=7 x=1")},
    config="c0",
    settings={"epochs": 7, "agm.alpha": "0.30", "dataset.rates": "0.2/0.1", "optimizer.lr": 1e-5, "flag": True},
    dependencies=("aa", "bb"),
    metric="accuracy",
    value=0.75,
    unimodal={"voice": 0.25, "left hand": 0.5},
    metrics=WHOLE.metrics,
    floors={"accuracy": 0.125},
    floors_of="training",
    samples={"train": 80, "val": 9, "test": 11},
    epochs=7,
    best_epoch=5,
    costs=Costs(seconds=12.5, peak_memory_mib=3.0),
    missing={"too few samples": ("test/ece", "val/ece")},
    versions={"mcr-bench": "0.2.0", "torch": "2.9", "python": "3.12"},
    commit="abc+changes",
    device="cuda:1",
    device_name="NVIDIA H100",
    precision="bf16",
    deterministic=True,
    platform="Linux",
    started=1_700_000_000.5,
    ended=1_700_000_020.0,
    artifacts="file:///home/x/artifacts",
)
FIRST_VERSION = (
    *("key", "method", "role", "label", "dataset", "protocol", "fold", "seed", "preset", "preset_origin", "overrides"),
    *("protocol_card", "metric", "config", "data_identity", "fingerprint", "method_digest", "modalities"),
    *("scales_gradients", "version", "dependencies"),
)
ALWAYS = (
    *("method", "role", "label", "dataset", "protocol", "fold", "seed", "preset", "metric", "config"),
    *("data_identity", "modalities"),
)
SPOILT = [
    ("seed", "three", "a whole number"),
    ("seed", "2.5", "a whole number"),
    ("seed", "٣", "a whole number"),
    ("seed", "9223372036854775808", "a whole number up to 9223372036854775807"),
    ("seed", "9" * 5000, "a whole number"),
    ("fold", "", "empty"),
    ("fold", "1,2", "a whole number"),
    ("role", "baseline", "one of reference, unimodal, ensemble, method"),
    ("modalities", ",", "a comma list"),
    ("modalities", "voice,voice", "a comma list"),
    ("scales_gradients", "yes", "one of true, false"),
    ("presets", "{", "JSON"),
    ("presets", '["default"]', "JSON"),
    ("presets", '{"default": "ours"}', "JSON"),
    ("presets", '{"default": {"origin": 1}}', "JSON"),
    ("presets", "[" * 7_900, "JSON"),
    ("metric", "acuracy", "accuracy, macro_f1"),
    ("missing", "nothing", "JSON"),
    ("missing", '{"why": "test/ece"}', "JSON"),
    ("missing", '{"why": [3]}', "JSON"),
    *((name, " ", "empty") for name in ALWAYS),
]
BAD_METRICS = [("epochs", math.nan), ("best_epoch", 1.5), ("data/test_samples", math.inf), ("data/train_samples", -1.0)]


def changed(**tags: str | None) -> StoredRun:
    """The whole run with other tags; None: without it."""
    kept = {name: text for name, text in (WHOLE.tags | tags).items() if text is not None}
    return replace(WHOLE, tags=kept)


def left_out(run: StoredRun) -> Unreadable:
    why = row_or_why(run)
    assert isinstance(why, Unreadable)
    return why


def test_every_field_is_read() -> None:
    row = row_of(WHOLE)
    assert math.isnan(row.metrics["cost/encoder_backwards"])
    assert row == EXPECTED
    assert (row.pair, row.asked_settings, row.finished) == ((109, 2), ["epochs=7"], True)
    assert row.asked == {"paper": Asked("the paper", "epochs=7"), "default": Asked("ours", "epochs=7 x=1")}


def test_a_record_of_the_first_version_is_read_with_defaults() -> None:
    old = replace(WHOLE, tags={name: WHOLE.tags[name] for name in FIRST_VERSION}, ended=None, artifacts="")
    no_tags = {"source": "", "dataset_source": "", "other_presets": {}, "missing": {}, "commit": "", "device": ""}
    no_tags |= {"device_name": "", "precision": "", "deterministic": False, "complete_from": 1}
    no_tags |= {"platform": "", "versions": {"mcr-bench": "0.2.0"}, "ended": None, "artifacts": ""}
    assert row_of(old) == replace(EXPECTED, **no_tags)


def test_a_run_that_has_just_begun_has_no_values() -> None:
    row = row_of(stored_run(value=None, status="running", started=1.5))
    assert (row.status, row.started, row.value, row.ended, row.epochs) == ("running", 1.5, None, None, None)
    assert (row.settings, row.metrics, row.costs, row.samples) == ({}, {}, Costs(), {})


@pytest.mark.parametrize("seed", [0, 10**18 - 1, 10**18, LARGEST_SEED])
def test_every_seed_that_may_be_asked_for_is_read(seed: int) -> None:
    assert seeds_of([seed], "seeds") == [seed]
    assert row_of(changed(seed=str(seed))).seed == seed


@pytest.mark.parametrize(("tag", "value", "what"), SPOILT)
def test_a_spoilt_tag_is_named_with_run_value_and_remedy(tag: str, value: str, what: str) -> None:
    why = left_out(changed(**{tag: value}))
    assert why.run_id == "f00d"
    for part in ("f00d", f"tag '{tag}'", what, "mcr-bench ui", value.strip()[:50]):
        assert part in why.note
    assert len(why.note) < 500
    assert "\n" not in why.note


@pytest.mark.parametrize("tag", ALWAYS)
def test_a_tag_that_was_deleted_is_named(tag: str) -> None:
    assert f"its tag '{tag}' is missing" in left_out(changed(**{tag: None})).note


@pytest.mark.parametrize(("name", "value"), BAD_METRICS)
def test_a_spoilt_metric_is_named(name: str, value: float) -> None:
    note = left_out(replace(WHOLE, metrics=WHOLE.metrics | {name: value})).note
    assert "Delete the run in MLflow's page" in note, "values of metrics cannot be edited there"
    assert f"metric '{name}' is {value}" in note
    assert "f00d" in note


def test_text_in_the_place_of_a_metric_is_named() -> None:
    metrics = {**WHOLE.metrics, "test/ece": "low"}
    assert "metric 'test/ece' is 'low'" in left_out(replace(WHOLE, metrics=metrics)).note  # type: ignore[arg-type]


def test_a_metric_without_a_value_needs_a_reason() -> None:
    assert row_of(stored_run(value=None)).value is None, "nothing was tested"
    lost = {"missing": json.dumps({"its value is nan": ["test/accuracy"]})}
    assert row_of(stored_run(value=None, metrics={"test/loss": 0.5}, tags=lost)).value is None
    many = {"missing": json.dumps({"its value is nan": ["test/ece", "30 more"]})}
    assert row_of(stored_run(value=None, metrics={"test/loss": 0.5}, tags=many)).value is None
    assert isinstance(row_or_why(stored_run(value=None, metrics={"test/loss": 0.5})), Unreadable)


def test_what_is_left_out_is_told_by_what_its_tags_still_say() -> None:
    assert left_out(changed(fold=None)).note.startswith("left out: agm [epochs=7] on hands.npz: run f00d: ")
    assert left_out(changed(label=" ")).note.startswith("left out: agm on hands.npz: run f00d: ")
    assert left_out(changed(dataset=None, label=None, method=None)).note.startswith("left out: a run: run f00d: ")


def test_others_are_read_and_the_older_finished_run_of_a_key_stands_in() -> None:
    spoilt = stored_run("joint", 0, 0.9, started=5, run_id="new", tags={"seed": "x"})
    older = stored_run("joint", 0, 0.5, started=1, run_id="old")
    failed = stored_run("joint", 0, None, started=9, status="failed", run_id="failed")
    alone = stored_run("ogm", 0, 0.4, run_id="alone", tags={"fold": "first"})
    gone_on = stored_run("ogm", 0, None, run_id="later", status="failed", started=3)
    fine = stored_run("agm", 1, 0.6)
    rows, unreadable = rows_of([spoilt, older, failed, alone, gone_on, fine])
    assert {row.run_id for row in rows} == {"old", fine.run_id}
    assert {one.run_id for one in unreadable} == {"new", "alone"}


def test_a_run_that_lost_its_key_is_told_and_one_of_another_program_is_not() -> None:
    lost = changed(key=None)
    foreign = StoredRun("theirs", "FINISHED", 0, {"loss": 1.0}, {}, {"seed": "x", "mlflow.user": "me"})
    rows, unreadable = rows_of([lost, foreign, replace(lost, run_id="another")])
    assert rows == []
    assert {one.run_id for one in unreadable} == {"f00d", "another"}
    assert all("tag 'key' is missing" in one.note for one in unreadable)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("True", True),
        ("False", False),
        ("true", "true"),
        ("0", 0),
        ("-3", -3),
        ("007", "007"),
        ("1.0", 1.0),
        ("0.10", "0.10"),
        ("1e-05", 1e-5),
        ("1e5", "1e5"),
        ("nan", "nan"),
        ("", ""),
        ("0.2/0.1", "0.2/0.1"),
        ("1" * 5000, "1" * 5000),
        ("1e999", "1e999"),
    ],
)
def test_settings_have_the_type_that_they_had(text: str, value: object) -> None:
    found = value_of(text)
    assert (type(found), found) == (type(value), value)
    assert str(found) == text


def test_an_infinity_that_mlflow_stored_as_a_number_is_read_as_one() -> None:
    stored = {"test/mae": 1.7976931348623157e308, "test/modality/audio/mae": -1e308, "floor/mae": 3e38}
    row = row_of(stored_run(metric="mae", metrics=stored | {"cost/seconds": 1e308}))
    assert (row.value, row.unimodal["audio"], row.floors["mae"]) == (math.inf, -math.inf, 3e38)
    assert row.costs.seconds is None
