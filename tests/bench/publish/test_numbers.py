"""Numbers from predictions of every kind of task, against values worked out by hand; and files of another form."""

import io
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mcr_bench.bench.publish.numbers import agree, number_checks, recomputed
from mcr_bench.bench.publish.predicted import Unsound, predictions_in, task_of
from mcr_bench.bench.record.row import RunRow
from mcr_bench.tests.support.records.run_rows import run_row


def wide(rows: list[list[float]], kind: Any = "float32") -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ravel(rows).astype(kind)), len(rows[0]))


def content(labels: Any, logits: list[list[float]], **more: Any) -> bytes:
    """A file whose validation and test part hold the same samples."""
    names = [f"s{i}" for i in range(len(logits))]
    columns = {"id": pa.array(names), "group": pa.array(names), "label": labels, "logits": wide(logits)} | more
    tables = [pa.table({"part": [part] * len(names)} | columns) for part in ("val", "test")]
    out = io.BytesIO()
    pq.write_table(pa.concat_tables(tables), out)
    return out.getvalue()


def values(file: bytes, row: RunRow) -> dict[str, float]:
    test = predictions_in(file)["test"]
    return recomputed("test", test, task_of(row, test), row.modalities)


def test_classes_with_a_modality_that_samples_lack_and_labels_of_its_own() -> None:
    logits = [[2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 1.0]]
    file = content(
        pa.array([0, 1, 1, 1]),
        logits,
        **{"modality/audio": wide(logits), "present/audio": pa.array([True, True, False, False])},
        **{"modality/video": wide(logits), "label/video": pa.array([1, 0, 1, 0])},
        **{"subset/audio": wide(logits), "subset/video": wide(logits[::-1]), "subset/": wide([[1.0, 0.0]] * 4)},
    )
    made = values(file, run_row())
    assert made["accuracy"] == made["subset/audio/accuracy"] == 0.75
    assert (made["modality/audio/accuracy"], made["modality/video/accuracy"]) == (1.0, 0.0)
    assert made["subset/video/accuracy"] == 0.25  # predicts 1, 0, 1, 0 for 0, 1, 1, 1
    assert made["contribution/audio"] == pytest.approx((0.75 - 0.25 + 0.75 - 0.25) / 2)
    assert made["loss"] == pytest.approx(
        np.mean([np.log1p(np.exp(-2)), *[np.log1p(np.exp(-1))] * 2, np.log1p(np.exp(3))])
    )


def test_scores_in_a_learned_unit() -> None:
    file = content(pa.array([1.0, 2.0, 4.0]), [[1.5], [2.0], [3.0]])
    row = run_row(metric="mae", metrics={"data/target_mean": 2.0, "data/target_size": 0.5})
    made = values(file, row)
    assert made["mae"] == pytest.approx(0.5)
    assert made["loss"] == pytest.approx(1.0, abs=1e-6)  # twice the error, as a unit is half a score
    assert made["pearson"] == pytest.approx(np.corrcoef([1.5, 2, 3], [1, 2, 4])[0, 1])
    assert "acc7" not in made
    assert "acc7" in values(file, run_row(metric="mae", metrics={"test/acc7": 0.5}))
    assert "sims_acc3" in values(file, run_row(metric="mae", metrics={"test/sims_acc5": 0.5}))


def test_labels() -> None:
    file = content(wide([[1, 0], [1, 1]], "int8"), [[1.0, 1.0], [1.0, -1.0]])
    made = values(file, run_row(metric="subset_accuracy"))
    assert (made["subset_accuracy"], made["hamming_accuracy"], made["micro_f1"]) == (0.0, 0.5, pytest.approx(4 / 6))


def test_what_is_not_on_record_claims_nothing_and_nan_is_wrong() -> None:
    parts = predictions_in(content(pa.array([0, 1]), [[1.0, 0.0], [0.0, 1.0]]))
    states = [one.state for one in number_checks(run_row(value=1.0), parts)]
    assert states == ["holds"]
    (wrong, *_) = number_checks(run_row(value=1.0, metrics={"test/macro_f1": float("nan")}), parts)
    assert (wrong.state, wrong.text) == ("wrong", "test/macro_f1 is nan on record and 1 by its predictions")
    (wrong, *_) = number_checks(run_row(value=None, metric="map@5"), parts)
    assert wrong.text == "test map@5 does not follow from its predictions"


def told(file: bytes, **run: Any) -> list[tuple[str, str]]:
    return [(one.state, one.text) for one in number_checks(run_row(**run), predictions_in(file))]


def test_the_oracle_of_records_before_absent_modalities_counted_holds_too() -> None:
    """Fused is wrong on the third sample only, of which audio, that it lacks, would be right and video is wrong."""
    zero, one = [1.0, 0.0], [0.0, 1.0]
    file = content(
        pa.array([0, 1, 1, 1]),
        [zero, one, zero, one],
        **{"modality/audio": wide([one] * 4), "present/audio": pa.array([True, True, False, True])},
        **{"modality/video": wide([zero] * 4)},
    )
    for oracle in (0.75, 1.0):
        assert told(file, value=0.75, metrics={"test/oracle/accuracy": oracle}) == [
            ("holds", "follow from the predictions")
        ]
    (wrong, _) = told(file, value=0.75, metrics={"test/oracle/accuracy": 0.5})
    assert wrong == ("wrong", "test/oracle/accuracy is 0.5 on record and 0.75 by its predictions")


@pytest.mark.parametrize("modalities", [("a", "b", "c"), ("a", "b", "a_b")])
def test_the_modalities_of_a_subset_were_joined_otherwise_where_none_has_that_name(modalities: tuple[str, ...]) -> None:
    right, half = [[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0]] * 2
    single = {f"modality/{m}": wide(half) for m in modalities} | {f"subset/{m}": wide(half) for m in modalities}
    file = content(pa.array([0, 1]), right, **single, **{"subset/a+b": wide(right)})
    name = "test/subset/a_b/accuracy"
    row = {"value": 1.0, "modalities": ",".join(modalities)}
    true, other = (1.0, 0.5) if "a_b" not in modalities else (0.5, 1.0)
    assert told(file, **row, metrics={name: true}) == [("holds", "follow from the predictions")]
    (wrong, _) = told(file, **row, metrics={name: other})
    assert wrong == ("wrong", f"{name} is {other:g} on record and {true:g} by its predictions")


def test_the_accuracy_of_signs_was_0_where_every_target_is_0() -> None:
    file = content(pa.array([0.0, 0.0]), [[1.0], [-1.0]])
    name = "binary_accuracy_nonzero"
    signs = {f"test/{name}": 0.0, f"selected_val/{name}": 0.0}
    assert told(file, metric="mae", value=1.0, metrics=signs) == [("holds", "follow from the predictions")]
    (wrong, _) = told(file, metric="mae", value=1.0, metrics={f"test/{name}": 0.5})
    assert wrong == ("wrong", f"test/{name} is 0.5 on record and 0 by its predictions")
    assert told(file, metric=name, value=None) == [("wrong", f"test {name} does not follow from its predictions")]
    (wrong, _) = told(content(pa.array([0.0, 2.0]), [[1.0], [1.0]]), metric="mae", value=1.0, metrics=signs)
    assert wrong[1].startswith(f"selected_val/{name} is 0 on record and 1; test/{name} is 0 on record and 1 by")


def test_a_number_that_is_not_finite_agrees_with_itself_alone() -> None:
    assert agree(math.inf, math.inf)
    assert agree(math.nan, math.nan)
    assert agree(math.inf, None)
    assert not any(agree(*pair) for pair in ((math.inf, 0.5), (math.inf, -math.inf), (0.5, math.inf), (math.nan, 0.5)))


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"PAR1",
        content(pa.array(["a", "b"]), [[1.0, 0.0], [0.0, 1.0]]),
        content(pa.array([0, None]), [[1.0, 0.0], [0.0, 1.0]]),
        content(pa.array([0, 1]), [[1.0, 0.0], [0.0, 1.0]], **{"modality/m": pa.array([1, 2])}),
        content(pa.array([0, 1]), [[1.0, 0.0], [0.0, 1.0]], id=pa.array([1, 2])),
        content(pa.array([0, 1]), [[1.0, 0.0], [0.0, 1.0]])[:-20],
    ],
    ids=["empty", "head", "labels of text", "no label", "no logits", "ids of numbers", "cut"],
)
def test_a_file_of_another_form_is_not_sound(file: bytes) -> None:
    with pytest.raises(Unsound):
        predictions_in(file)
