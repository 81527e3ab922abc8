"""The presets of the MCR comparison: every resolved setting has its source, and differences are told as ours."""

import csv
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.problem.metrics import higher_is_better
from mcr_bench.bench.task import Task
from mcr_bench.tests.support.records.paper_settings import (
    ABOUT,
    PRESETS,
    compared,
    differences,
    resolved,
    row_of,
    settings,
    table,
)

GIVEN = Path(os.environ.get("MCR_BENCH_TEST_DATA", "missing")).parent / "specs" / "paper_settings.csv"
OURS = "ours: "
METHOD = "mcr"
NAMED = {  # what the release says where a baseline is not as the others of its preset
    ("ucf101", "paper", "uni-pre-finetuned"): {"optimizer.lr": 1e-4},
    ("ucf101", "paper", "uni-pre-frozen"): {"optimizer.lr": 1e-4},
    ("ave", "paper-transformers", "uni-pre-finetuned"): {"optimizer.lr": 1e-5, "schedule.warmup": 1500},
    ("ave", "paper-transformers", "uni-pre-frozen"): {"optimizer.lr": 1e-5},
    ("ave", "paper", "unimodal"): {"epochs": 1000, "patience": 100},
    ("ave", "paper", "joint"): {"epochs": 1500, "patience": 150},
    ("cremad", "paper-conformer", "unimodal"): {"optimizer.beta1": 0.95, "schedule.warmup": 1500, "patience": 100},
    ("cremad", "paper-conformer", "uni-pre-frozen"): {"optimizer.beta1": 0.95, "schedule.warmup": 1500, "patience": 50},
    ("cremad", "paper-conformer", "uni-pre-finetuned"): {"optimizer.beta1": 0.95, "patience": 50},
    ("cremad", "paper-conformer", "joint"): {"optimizer.beta1": 0.9, "schedule.warmup": 780, "patience": 100},
    ("mosi", "paper-vt", "joint"): {"monitor": "binary_accuracy_nonzero", "schedule.warmup": 780},
    ("mosi", "paper-vt", "agm"): {"monitor": "mae"},
    ("mosi", "paper-vta", "agm"): {"monitor": "binary_accuracy_nonzero"},
    ("mosi", "paper-vta", "mcr"): {"monitor": "total_loss"},
    ("mosei", "paper-vt", "unimodal"): {"monitor": "binary_accuracy_nonzero", "schedule.warmup": 780},
    ("mosei", "paper-vta", "mcr"): {"monitor": "total_loss"},
    ("something-something", "paper", "joint"): {"optimizer.eps": 1e-8, "clip_norm": 5.0, "encoder.flow.dropout": 0.2},
}


def test_there_are_twelve_presets() -> None:
    assert len(PRESETS) == 12


def test_every_resolved_setting_is_the_table_s() -> None:
    """Printed, with -s or -rP: how many settings have which source."""
    rows = table()
    by_place = {row.place: row for row in rows}
    found = Counter(row.source.partition(":")[0] for place in settings() if (row := row_of(by_place, place)))
    lines = Counter(row.source.partition(":")[0] for row in rows)
    for source in ABOUT["sources"]:
        kind = source.partition(":")[0]
        print(f"{kind}: {found[kind]} settings, {lines[kind]} rows")
    assert differences(rows) == []


def test_each_source_is_of_the_known_kinds() -> None:
    kinds = set(ABOUT["sources"]) - {"ours: REASON"}
    for row in table():
        assert row.source in kinds or (len(row.source) > len(OURS) + 10 and row.source.startswith(OURS)), row
        assert row.note or row.source.startswith(OURS), row


def test_the_audit_finds_what_does_not_agree() -> None:
    rows = table()
    first = next(i for i, row in enumerate(rows) if row.place == ("ave", "paper", "agm", "optimizer.lr"))
    common = next(i for i, row in enumerate(rows) if row.place == ("all", "all", "all", "schedule.name"))
    changed = [*rows[:first], replace(rows[first], value="0.001"), *rows[first + 1 :]]
    assert differences(changed) == ["ave paper agm optimizer.lr = 0.0001: the table says 0.001"]
    assert len(differences([*rows[:common], *rows[common + 1 :]])) == 10 * len(compared())
    assert differences([*rows, rows[first]]) == ["ave paper agm optimizer.lr: twice"]
    stale = replace(rows[first], method="gone")
    assert differences([*rows, stale]) == ["ave paper gone optimizer.lr: no setting reads this row"]


@pytest.mark.parametrize("dataset", ABOUT["same"])
def test_presets_that_are_said_to_be_the_same_are(dataset: str) -> None:
    for name, other in ABOUT["same"][dataset].items():
        for method in registry.method_names():
            assert resolved(dataset, name, method) == resolved(dataset, other, method)


@pytest.mark.parametrize("place", NAMED, ids=" ".join)
def test_what_the_release_says_of_one_method(place: tuple[str, str, str]) -> None:
    found = resolved(*place)
    assert {key: found[key] for key in NAMED[place]} == NAMED[place]


@pytest.mark.parametrize(("dataset", "preset"), PRESETS)
def test_the_fair_baseline_differs_from_mcr_by_the_method_alone(dataset: str, preset: str) -> None:
    """The MCR command with the game and the contrastive term off: its rate, patience, monitor and own heads' weight."""
    mcr, fair = resolved(dataset, preset, METHOD), dict(resolved(dataset, preset, "uni-pre-multi-loss"))
    assert fair.pop("uni-pre-multi-loss.weight") == mcr[f"{METHOD}.lambda_uni"]
    assert fair == {key: value for key, value in mcr.items() if not key.startswith(f"{METHOD}.")}


@pytest.mark.parametrize(("dataset", "preset"), PRESETS)
def test_what_selects_an_epoch_exists_for_the_task(dataset: str, preset: str) -> None:
    task = Task(None if dataset in ("mosi", "mosei") else 6)
    for method in registry.method_names():
        higher_is_better(str(resolved(dataset, preset, method)["monitor"]), task)


@pytest.mark.skipif(not GIVEN.is_file(), reason="MCR_BENCH_TEST_DATA has no specs/paper_settings.csv beside it")
def test_the_values_given_with_the_release_are_in_the_table() -> None:
    rows = {row.place: row.value for row in table()}
    given = list(csv.DictReader(GIVEN.read_text(encoding="utf-8").splitlines()))
    assert len(given) == 568
    for line in given:
        mine = rows[line["dataset"], line["preset"], line["method"], line["setting"]]
        assert mine == line["value"] or float(mine) == float(line["value"]), line
