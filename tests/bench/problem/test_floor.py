"""The floor: what a constant scores, by hand; in every kind of table, in no test; told where a method is no better."""

import csv
import io
from collections.abc import Mapping
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mcr_bench.bench.analysis.claims import claims, leading
from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.comparisons import comparisons
from mcr_bench.bench.analysis.floors import floor_of, not_above, with_floors
from mcr_bench.bench.analysis.ranking import rank_datasets
from mcr_bench.bench.analysis.sweeps import sweep_table, sweeps
from mcr_bench.bench.analysis.table import comparison_table
from mcr_bench.bench.problem.floor import floor_metrics
from mcr_bench.bench.record.files.artifacts import PREDICTIONS, Artifact
from mcr_bench.bench.record.files.floors import read_floors
from mcr_bench.bench.report import export
from mcr_bench.bench.report.claim_tables import claim_data, claim_tables
from mcr_bench.bench.report.html.comparison import line_links
from mcr_bench.bench.report.terminal import table_data
from mcr_bench.tests.support.records.claimed_runs import BASE, compared, noisy, run

NAME = "constant (majority class)"
FLOOR = {"floor/accuracy": 0.4, "floor/macro_f1": 0.2, "floor/ece": 0.1}


def with_floor(values: Mapping[str, list[float]], floor: Mapping[str, float] = FLOOR, **changes: Any) -> Comparison:
    return compared(values, metrics=dict(floor), **changes)


def test_the_majority_class_by_hand() -> None:
    known, test = torch.tensor([2, 2, 2, 0, 1]), torch.tensor([2, 2, 0, 0, 1, 2, 0, 0])
    result = floor_metrics(known, test)
    assert result["floor/accuracy"] == pytest.approx(3 / 8)
    assert result["floor/macro_f1"] == pytest.approx((2 * 3 / (8 + 3)) / 3)  # F1 of class 2 alone, over three classes
    assert result["floor/ece"] == pytest.approx(3 / 5 - 3 / 8)


def test_ties_take_the_lowest_class_and_a_test_class_may_be_new() -> None:
    result = floor_metrics(torch.tensor([3, 1, 3, 1]), torch.tensor([1, 1, 3, 7]))
    assert result["floor/accuracy"] == pytest.approx(0.5)


def test_the_median_by_hand_in_the_unit_of_the_labels() -> None:
    known, test = torch.tensor([100.0, 140.0, 160.0, 900.0]), torch.tensor([150.0, 100.0, 190.0])
    result = floor_metrics(known, test)
    assert result["floor/mae"] == pytest.approx((0 + 50 + 40) / 3)
    assert result["floor/pearson"] == 0
    assert result["floor/binary_accuracy"] == 1
    negative = floor_metrics(-known, torch.tensor([-1.0, 2.0, 0.0, -3.0]))
    assert negative["floor/binary_accuracy_nonzero"] == pytest.approx(2 / 3)


def test_no_other_constant_has_a_lower_error_on_its_own_labels() -> None:
    labels = torch.randn(41, generator=torch.Generator().manual_seed(0))
    best = floor_metrics(labels, labels)["floor/mae"]
    assert all((labels - c).abs().mean() >= best - 1e-6 for c in torch.linspace(-2, 2, 201))


def predictions(path: Path, val: list[float], test: list[float]) -> Path:
    part = ["val"] * len(val) + ["test"] * len(test)
    pq.write_table(pa.table({"part": part, "label": [*val, *test], "id": [str(i) for i in range(len(part))]}), path)
    return path


def test_old_runs_have_it_from_their_validation_labels(tmp_path: Path) -> None:
    paths = {
        "classes": predictions(tmp_path / "c.parquet", [1, 1, 0], [0, 1, 1, 1]),
        "scores": predictions(tmp_path / "s.parquet", [1.0, 2.0, 9.0], [4.0, 1.0]),
        "no test part": predictions(tmp_path / "n.parquet", [1, 1, 0], []),
        "gone": tmp_path / "nothing.parquet",
    }
    (tmp_path / "broken.parquet").write_bytes(b"broken")
    result = read_floors(
        [*paths, "broken"], lambda one: Artifact(PREDICTIONS, paths.get(one, tmp_path / "broken"), True)
    )
    assert set(result) == {"classes", "scores"}
    assert result["classes"]["accuracy"] == pytest.approx(0.75)
    assert result["scores"]["mae"] == pytest.approx((2 + 1) / 2)


def test_the_row_stands_below_the_lines_in_every_format() -> None:
    comparison = with_floor({"joint": [0.5, 0.6], "ensemble": [0.7, 0.8]})
    table = comparison_table(comparison, "joint")
    assert table.floor == len(table.rows) - 1
    row = dict(zip(table.columns, table.rows[-1], strict=True))
    assert (row["method"], row["test accuracy"], row["sd"], row["n"]) == (NAME, pytest.approx(0.4), 0, 2)
    assert row["macro-F1"] == pytest.approx(0.2)
    assert row["× step time"] is None
    assert table_data(table)["floor"] == NAME
    assert list(csv.reader(io.StringIO(export.to_csv(table))))[-1][0] == NAME
    assert all(NAME in write(table) for write in (export.markdown, export.latex, export.html))


def test_folds_have_floors_of_their_own() -> None:
    rows = [run("joint", s, 0.5, fold=s, metrics={"floor/accuracy": f}) for s, f in enumerate((0.1, 0.2, 0.6))]
    (comparison,) = comparisons(rows, "joint")
    floor = floor_of(comparison, "accuracy")
    assert floor is not None
    assert (floor.mean, floor.sd) == (pytest.approx(0.3), pytest.approx(0.07**0.5))


@pytest.mark.parametrize(("value", "told"), [(0.41, False), (0.4, True), (0.3, True)])
def test_a_method_that_is_no_better_is_named(value: float, told: bool) -> None:
    comparison = with_floor({"joint": [0.7, 0.7], "weak": [value, value]})
    assert set(not_above(comparison, "accuracy")) == ({"weak"} if told else set())
    notes = [note for note in comparison_table(comparison, "joint").notes if "does not beat" in note]
    assert [note.startswith(f"WARNING: does not beat {NAME} (0.4000): weak ({value:.4f})") for note in notes] == [
        True
    ] * told


def test_lower_is_better_for_errors() -> None:
    floor = {"floor/mae": 40.0, "floor/pearson": 0.0}
    rows = [run(m, 0, v, metric="mae", metrics=floor | {"test/mae": v}) for m, v in (("joint", 39.0), ("weak", 41.0))]
    (comparison,) = comparisons(rows, "joint")
    assert set(not_above(comparison, "mae")) == {"weak"}
    assert comparison_table(comparison, "joint").rows[-1][0] == "constant (median)"


@pytest.mark.parametrize("unit", [1e-30, 1e-10, 1e-3, 1e15])
def test_who_beats_the_floor_does_not_depend_on_the_unit(unit: float) -> None:
    values = {"joint": 39.0, "weak": 40.0}
    rows = [
        run(m, 0, v * unit, metric="mae", metrics={"floor/mae": 40.0 * unit, "test/mae": v * unit})
        for m, v in values.items()
    ]
    (comparison,) = comparisons(rows, "joint")
    assert set(not_above(comparison, "mae")) == {"weak"}


@pytest.mark.parametrize("offset", [1e9, -3e7])
def test_the_median_is_exact_far_from_zero(offset: float) -> None:
    known = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64) + offset
    assert floor_metrics(known, known)["floor/mae"] == 1.0


def test_a_constant_is_exactly_uncorrelated() -> None:
    known = 1000 / 7 + torch.linspace(-1, 2, 999, dtype=torch.float64)
    assert floor_metrics(known, known)["floor/pearson"] == 0


def test_methods_are_held_against_the_floor_of_their_own_folds() -> None:
    rows = [run("joint", s, 0.5, fold=s, metrics={"floor/accuracy": f}) for s, f in enumerate((0.2, 0.9))]
    rows.append(run("mine", 0, 0.5, fold=0, metrics={"floor/accuracy": 0.2}))
    (comparison,) = comparisons(rows, "joint")
    assert set(not_above(comparison, "accuracy")) == {"joint"}


def test_it_is_in_no_test_no_rank_and_no_bold_type() -> None:
    values = {"ensemble": noisy(-0.1, 1), "joint": BASE, "mine": noisy(0.1, 2)}
    plain, floored = compared(values), with_floor(values)
    before, after = claims(plain, "ensemble"), claims(floored, "ensemble")
    assert [vars(one) for one in after.against] == [vars(one) for one in before.against]
    assert (after.pairs, after.power, leading(after)) == (before.pairs, before.power, leading(before))
    assert rank_datasets([floored]).mean_ranks == rank_datasets([plain]).mean_ranks
    primary, *others = claim_tables(after)
    assert primary.rows[-1][0] == NAME
    assert [cell for cell in primary.rows[-1][1:] if cell is not None] == [pytest.approx(40.0)]
    assert not any(row[0] == NAME for table in others for row in table.rows)
    assert claim_data(after)["floor"] == {
        "name": NAME,
        "mean": pytest.approx(0.4),
        "labels_of": "training",
        "not_beaten_by": [],
    }
    assert claim_data(before)["floor"] is None


def test_a_sweep_has_it_at_every_setting() -> None:
    rows = []
    for dial, floor in (("0.1", 0.3), ("0.5", 0.45)):
        tags = {"data_identity": dial}
        rows += [
            run(m, s, 0.4, tags=tags, metrics={"floor/accuracy": floor}, params={"dataset.missing": dial})
            for m in ("joint", "mine")
            for s in (0, 1)
        ]
    (sweep,) = sweeps(comparisons(rows, "joint"))
    table = sweep_table(sweep, "joint")
    assert table.floor == len(table.rows) - 1
    row = dict(zip(table.columns, table.rows[-1], strict=True))
    assert [row["method"], row["0.1"], row["0.5"], row["level"], row["fall"], row["n"]] == [
        *(NAME, pytest.approx(30), pytest.approx(45), pytest.approx(37.5), pytest.approx(-15)),
        2,
    ]
    assert sum("does not beat" in note and note.endswith("at 0.5") for note in table.notes) == 1


def test_a_link_of_the_page_leads_nowhere_from_the_floor() -> None:
    comparison = with_floor({"joint": [0.5]})
    assert line_links(comparison, list(comparison.lines), "c0")(1, 1) is None


def test_old_rows_borrow_it_and_only_one_run_of_a_seed_is_read() -> None:
    rows = [run(m, s, 0.5) for m in ("joint", "mine") for s in (0, 1, 2)]
    rows[0] = replace(rows[0], floors={"accuracy": 0.25})
    asked: list[str] = []

    def read(ids: list[str]) -> dict[str, dict[str, float]]:
        asked.extend(ids)
        return {one: {"accuracy": 0.35} for one in ids if one != "joint-1"}

    (result,) = with_floors(comparisons(rows, "joint"), read)
    floor = floor_of(result, "accuracy")
    assert floor is not None
    assert floor.values == {(0, 1): 0.25, (1, 1): 0.35, (2, 1): 0.35}
    assert asked == ["joint-1", "joint-2", "mine-1"]
    assert any("of the validation part" in note for note in comparison_table(result, "joint").notes)


def test_nothing_is_read_where_all_is_on_record_and_nothing_told_where_nothing_is() -> None:
    def refuse(ids: list[str]) -> dict[str, dict[str, float]]:
        raise AssertionError(ids)

    floored = with_floor({"joint": [0.5]})
    assert with_floors([floored], refuse)[0] is floored
    (bare,) = with_floors([compared({"joint": [0.5]})], lambda _: {})
    assert comparison_table(bare, "joint").floor is None


def test_probabilities_are_the_shares_of_the_classes() -> None:
    """A constant of known calibration: 80 % confidence, right in 60 % of the test samples."""
    known, test = torch.tensor([0] * 8 + [1] * 2), torch.tensor([0] * 6 + [1] * 4)
    assert floor_metrics(known, test)["floor/ece"] == pytest.approx(0.2)
    assert torch.tensor([log(0.8), log(0.2)]).softmax(0)[0] == pytest.approx(0.8)
