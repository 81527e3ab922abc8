"""Claims about samples: tests per sample beside the primary one, what they rest on, and where there are none."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mcr_bench.bench.analysis.claims import claims
from mcr_bench.bench.analysis.comparisons import comparisons
from mcr_bench.bench.record.files.samples import Samples
from mcr_bench.bench.report.claim_tables import claim_tables
from mcr_bench.tests.support.records.claimed_runs import BASE, SEEDS, compared, noisy, run


def samples_of(rows: Mapping[str, np.ndarray], groups: int) -> Any:
    ids = np.array([f"s{i}" for i in range(len(next(iter(rows.values()))))])
    names = np.array([f"g{i % groups}" for i in range(len(ids))])
    found = {run_id: Samples(ids, names, score.astype(np.float32)) for run_id, score in rows.items()}
    return lambda wanted: {run_id: found[run_id] for run_id in wanted if run_id in found}


def test_per_sample_tests_read_stored_scores() -> None:
    rng = np.random.default_rng(0)
    scores = {f"{m}-{s}": rng.random(400) < p for m, p in (("ensemble", 0.5), ("up", 0.7)) for s in SEEDS}
    comparison = compared({"ensemble": BASE, "up": noisy(0.2, 1)})
    tests = claims(comparison, "ensemble", read_samples=samples_of(scores, 20)).against[0].samples
    assert tests is not None
    a, b = scores["up-0"], scores["ensemble-0"]
    assert tests.mcnemar[0] == pytest.approx(stats.binomtest(int((a & ~b).sum()), int((a != b).sum())).pvalue)
    assert tests.groups.low < 20 < tests.groups.high
    assert tests.seeds_groups.low < 20 < tests.seeds_groups.high
    few = claims(comparison, "ensemble", read_samples=samples_of(scores, 4))
    refused = few.against[0].samples
    assert refused is not None
    assert "4 group" in refused.groups.refused
    assert any(note.startswith("groups interval refused") for note in claim_tables(few)[1].notes)


def test_per_sample_tests_say_on_how_many_runs_they_rest_and_what_they_assume() -> None:
    scores = {f"{m}-{s}": np.arange(40) % 2 for m in ("ensemble", "up") for s in range(4)}
    comparison = compared({"ensemble": BASE, "up": noisy(0.2, 1)})
    table = claim_tables(claims(comparison, "ensemble", read_samples=samples_of(scores, 20)))[1]
    assert table.rows[0][table.columns.index("runs")] == "4 of 10"
    assert any("takes the samples as independent, which those of one group are not" in note for note in table.notes)


def test_regression_has_no_mcnemar_test_and_says_why() -> None:
    scores = {f"{m}-{s}": 0.3 + 0.01 * np.arange(40) for m in ("ensemble", "up") for s in SEEDS}
    comparison = compared({"ensemble": BASE, "up": noisy(0.2, 1)})
    table = claim_tables(claims(comparison, "ensemble", read_samples=samples_of(scores, 20)))[1]
    assert table.rows[0][table.columns.index("McNemar p")] is None
    assert "no McNemar test: regression has no right and wrong predictions" in table.notes
    assert not any(note.startswith("McNemar") for note in table.notes)


def test_data_without_groups_are_not_said_to_have_any() -> None:
    ids = np.array([f"s{i}" for i in range(40)])
    found = {
        f"{m}-{s}": Samples(ids, ids, (np.arange(40) % (2 + (m == "up")) == 0).astype(np.float32))
        for m in ("ensemble", "up")
        for s in SEEDS
    }
    comparison = compared({"ensemble": BASE, "up": noisy(0.2, 1)})
    table = claim_tables(claims(comparison, "ensemble", read_samples=lambda i: {k: found[k] for k in i}))[1]
    assert {"samples low", "seeds × samples high"} <= set(table.columns)
    assert any(note.startswith("samples (no groups named)") for note in table.notes)


def test_per_sample_tests_are_left_out_where_they_would_be_about_another_metric() -> None:
    comparison = compared({"ensemble": BASE, "up": noisy(0.2, 1)})
    read = samples_of({f"{m}-{s}": np.ones(40) for m in ("ensemble", "up") for s in SEEDS}, 20)
    assert claims(comparison, "ensemble", "macro_f1", read_samples=read).against[0].samples is None


def test_folds_that_test_other_samples_are_joined_by_id() -> None:
    rows = [run(m, s, v, fold=s + 1) for m in ("ensemble", "up") for s, v in enumerate([0.5, 0.6])]
    (comparison,) = comparisons(rows, "joint")
    found = {}
    for m, right in (("ensemble", 0.0), ("up", 1.0)):
        for s in range(2):
            ids = np.array([f"fold{s}-{i}" for i in range(30)])
            found[f"{m}-{s}"] = Samples(
                ids, np.array([f"g{i % 15}" for i in range(30)]), np.full(30, right, np.float32)
            )
    tests = claims(comparison, "ensemble", read_samples=lambda ids: {i: found[i] for i in ids}).against[0].samples
    assert tests is not None
    assert len(tests.mcnemar) == 2
    assert tests.mcnemar[0] == pytest.approx(2 / 2**30)
