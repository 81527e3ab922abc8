"""Keys of `results --json` and `--csv`: they are a promise to other people's programs, and the docs explain each."""

import csv
import io
import json
import math
import re
from dataclasses import fields
from pathlib import Path

import mcr_bench
from mcr_bench.bench.record.row import Costs, RunRow
from mcr_bench.bench.report.results import SCHEMA, result_data, results_csv
from mcr_bench.tests.support.records.run_rows import run_row

ROOT = Path(mcr_bench.__file__).parent
KEYS = [
    "schema",
    "key",
    "run_id",
    "status",
    "method",
    "label",
    "role",
    "source",
    "method_digest",
    "scales_gradients",
    "complete_from",
    "primary",
    "dataset",
    "dataset_source",
    "fingerprint",
    "data_identity",
    "modalities",
    "protocol",
    "protocol_card",
    "fold",
    "seed",
    "preset",
    "preset_origin",
    "overrides",
    "other_presets",
    "config",
    "settings",
    "dependencies",
    "metric",
    "value",
    "unimodal",
    "metrics",
    "floors",
    "floors_of",
    "samples",
    "epochs",
    "best_epoch",
    "costs",
    "missing",
    "failure",
    "versions",
    "commit",
    "device",
    "device_name",
    "precision",
    "deterministic",
    "platform",
    "started",
    "moment",
    "ended",
    "artifacts",
    "seconds",
    "seconds_per_step",
]
COSTS = ["seconds", "seconds_per_step", "encoder_forwards", "encoder_backwards", "peak_memory_mib"]
BEFORE_SCHEMA = [  # columns of the CSV, which some may read by their places
    *("key", "method", "label", "dataset", "protocol", "fold", "seed", "preset", "status", "metric", "value"),
    *("seconds", "seconds_per_step", "run_id", "unimodal.audio", "unimodal.video"),
]
FIRST = run_row(
    "ogm",
    3,
    0.75,
    tags={
        "presets": json.dumps({"paper": {"origin": "a paper", "overrides": ""}}),
        "missing": json.dumps({"no time": ["test/ece"]}),
        "label": 'ogm, "quoted"',
        "version/torch": "2.9",
    },
    metrics={
        "test/modality/video/accuracy": 0.5,
        "test/modality/audio/accuracy": 0.25,
        "cost/seconds": 2.5,
        "test/odd": math.inf,
        "floor/accuracy": 0.1,
        "data/test_samples": 40.0,
    },
    params={"epochs": "5", "ogm.alpha": "0.1", "optimizer.name": "sgd"},
)
SECOND = run_row("joint", 4, math.nan, params={"epochs": "6", "encoder.audio.kind": "mlp"})


def test_the_keys_of_json() -> None:
    assert SCHEMA == 1
    data = result_data(FIRST)
    assert list(data) == KEYS
    assert list(data["costs"]) == COSTS == [field.name for field in fields(Costs)]  # type: ignore[arg-type]


def test_json_holds_all_settings_and_metrics_and_nothing_that_is_no_json() -> None:
    data = json.loads(json.dumps(result_data(FIRST), allow_nan=False))
    assert data["settings"] == {"epochs": 5, "ogm.alpha": 0.1, "optimizer.name": "sgd"}
    assert data["metrics"] == {
        "test/accuracy": 0.75,
        "test/modality/video/accuracy": 0.5,
        "test/modality/audio/accuracy": 0.25,
        "cost/seconds": 2.5,
        "test/odd": None,
        "floor/accuracy": 0.1,
        "data/test_samples": 40.0,
    }
    assert data["other_presets"] == {"paper": {"origin": "a paper", "overrides": ""}}
    assert data["missing"] == {"no time": ["test/ece"]}
    assert (data["seconds"], data["costs"]["seconds"], data["seconds_per_step"]) == (2.5, 2.5, None)
    assert (data["value"], data["modalities"], data["schema"]) == (0.75, ["audio", "video"], 1)
    assert result_data(SECOND)["value"] is None


def test_csv_has_the_old_columns_in_their_places_then_the_same_keys() -> None:
    header, *lines = csv.reader(io.StringIO(results_csv([FIRST, SECOND])))
    assert header[: len(BEFORE_SCHEMA)] == BEFORE_SCHEMA
    assert len(set(header)) == len(header)
    whole = {name for name in header if "." not in name}
    spread = {name.partition(".")[0] for name in header if "." in name}
    assert whole | spread == set(KEYS)
    first, second = (dict(zip(header, line, strict=True)) for line in lines)
    assert (first["schema"], first["label"], first["value"], first["seed"]) == ("1", 'ogm, "quoted"', "0.75", "3")
    assert (first["settings.ogm.alpha"], first["settings.encoder.audio.kind"]) == ("0.1", "")
    assert (second["settings.ogm.alpha"], second["settings.encoder.audio.kind"]) == ("", "mlp")
    assert (first["metrics.test/odd"], second["value"]) == ("inf", "nan")
    assert (first["modalities"], json.loads(first["missing"])) == ("audio,video", {"no time": ["test/ece"]})
    assert (first["costs.seconds"], first["samples.test"], first["versions.torch"]) == ("2.5", "40", "2.9")


def test_the_csv_of_an_empty_record_is_its_header() -> None:
    (header,) = csv.reader(io.StringIO(results_csv([])))
    assert {name.partition(".")[0] for name in header} == set(KEYS) - {
        *("unimodal", "samples", "floors", "versions", "settings", "metrics")
    }


def test_the_docs_explain_every_key_as_the_class_does() -> None:
    text = (ROOT / "docs" / "record.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| `(\w+)` \| ([^|]+) \| (.+) \|$", text, re.MULTILINE)
    table, holds = {key: told for key, _, told in lines}, {key: kind for key, kind, _ in lines}
    assert list(table) == KEYS
    told = dict(re.findall(r"^    (\w+): (.+)\.$", RunRow.__doc__ or "", re.MULTILINE))
    assert list(told) == [field.name for field in fields(RunRow)]
    assert {key: table[key] for key in told} == told
    kinds = {str: "text", bool: "true or false", int: "whole number", float: "number", list: "list", dict: "object"}
    for row in (FIRST, SECOND):
        for key, value in result_data(row).items():
            expected = "or null" if value is None else kinds[type(value)]
            assert expected in holds[key], key
