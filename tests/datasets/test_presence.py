"""`present_<modality>` in array files: what is read, refused, counted and told."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mcr_bench.bench.audit.verify import verification_of
from mcr_bench.bench.audit.verify_text import data_of, text_of
from mcr_bench.bench.errors import UserError
from mcr_bench.cli import app
from mcr_bench.datasets.arrays import Arrays
from mcr_bench.tests.support.runs.hooked import array_file

HALF = np.arange(60) % 2 == 0


def arrays(path: Path, count: int = 2, **more: object) -> Arrays:
    return Arrays(Path(array_file(path / "set.npz", count, **more)))


@pytest.mark.parametrize("kind", [bool, "int8", "uint64", "float32"])
@pytest.mark.parametrize("count", [2, 3])
def test_it_is_read_from_bool_and_from_0_and_1(count: int, kind: object, tmp_path: Path) -> None:
    data = arrays(tmp_path, count, present_a=HALF.astype(kind))
    splits = data.load("file", 1, 0, tuple("abc"[:count]))
    assert splits.train.present["a"].tolist() == HALF[:30].tolist()
    assert splits.train.present.keys() == {"a"}
    lacked = {m: facts.lacked for m, facts in data.facts().modalities.items()}
    assert lacked == {"a": True} | dict.fromkeys("bc"[: count - 1], False)
    assert data.load("file", 1, 0, ("b",)).train.present == {}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"present_a": np.arange(60) % 3}, r"'present_a' is 2 at row 2, 5, 8 and 17 more\. Save 'present_a' \(N,\) as"),
        ({"present_a": np.where(HALF, 1.0, np.nan)}, "'present_a' is nan at row 1"),
        ({"present_a": np.where(HALF, "yes", "no")}, "'present_a' has dtype <U3"),
        ({"present_a": HALF[:, None]}, r"'present_a' has shape \(60, 1\), expected one axis"),
        ({"present_a": np.stack([HALF, HALF], 1)}, r"has shape \(60, 2\), expected one axis\. Save one value per row"),
        ({"present_a": HALF.astype(complex)}, r"'present_a' has dtype complex128\. Save 'present_a' \(N,\) as bool"),
        ({"present_a": np.full(60, np.nan)}, "'present_a' is nan at row 0, 1, 2 and 57 more.*1 where the sample has"),
        ({"present_a": np.zeros(60, bool), "present_b": np.zeros(60, bool)}, "no modality is present at row 0"),
        ({"present_c": HALF}, "unknown key 'present_c'.* Rename it, or leave it out"),
        ({"present_a": HALF[:40]}, "All need one row per sample"),
        ({"present_q": HALF}, "unknown key 'present_q'. Did you mean"),
        ({"present_a": HALF, "present_b": np.arange(60) % 4 == 0}, r"no modality is present at row .* \(id '1'\)"),
        ({"present_a": np.zeros(60)}, "'present_a' is 0 for every sample"),
        (
            {"present_a": np.arange(60) >= 30},
            r"no training sample has 'a': 'present_a' is 0 for all 30 samples that 'split' has in train\. Put samples "
            "that have it into train, or leave 'x_a' and 'present_a' out of the file",
        ),
        ({"present_a": HALF, "split": np.repeat("test", 60)}, "the train split is empty"),
    ],
)
def test_what_is_wrong_is_told_with_the_remedy(more: dict[str, np.ndarray], told: str, tmp_path: Path) -> None:
    more.setdefault("present_b", np.ones(60)) if "present_q" not in more else None
    with pytest.raises(UserError, match=told):
        arrays(tmp_path, **more).facts()


def test_values_and_lengths_of_absent_samples_may_be_anything(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 4, 2))
    x[~HALF] = np.inf
    lengths = np.where(HALF, 3, -7)
    data = arrays(tmp_path, x_s=x, length_s=lengths, present_s=HALF)
    splits = data.load("file", 1, 0, ("a", "b", "s"))
    assert splits.train.lengths["s"].min() >= 1
    assert np.isfinite(splits.train.values["s"]).all()
    x[0, 1] = np.nan
    with pytest.raises(UserError, match=r"'x_s' is NaN or infinite .* row 0"):
        arrays(tmp_path, x_s=x, length_s=lengths, present_s=HALF).facts()


def test_channels_are_standardised_over_the_samples_that_have_them(tmp_path: Path) -> None:
    data = arrays(tmp_path, present_a=HALF)
    raw = np.load(data.location)["x_a"].astype(float)[:30][HALF[:30]]
    values = data.load("file", 1, 0, ("a", "b")).train.values["a"].numpy()[HALF[:30]]
    assert np.allclose(values, (raw - raw.mean(0)) / raw.std(0), atol=1e-5)


def test_findings_look_at_present_samples_alone(tmp_path: Path) -> None:
    """Neither the zeros nor the label in absent rows are reported; those in present ones are."""
    y = np.arange(60) % 3
    told = np.where(HALF, y, 9)[:, None] + np.zeros((60, 2))
    told[:, 1] = np.random.default_rng(0).normal(size=60)
    found = arrays(tmp_path, x_t=told, present_t=HALF).findings()
    assert any("column 0 of 'x_t' is y: the label" in line for line in found)
    assert not any("all zeros" in line for line in found)
    assert arrays(tmp_path, present_a=HALF).findings() == arrays(tmp_path).findings()


def test_it_is_counted_by_verify_and_told_before_the_runs(tmp_path: Path) -> None:
    data = arrays(tmp_path, 3, present_a=np.arange(60) >= 12, present_c=np.arange(60) != 45)
    verified = verification_of(data, content=False)
    text = text_of(verified)
    assert "without a: train 12 of 30, validation 0 of 15, test 0 of 15" in text
    assert "without c: train 0 of 30, validation 0 of 15, test 1 of 15" in text
    (protocol,) = data_of(verified)["protocols"]
    assert protocol["folds"][0]["lacking"]["a"] == {"train": 12, "validation": 0, "test": 0}
    notes = data.facts().notes
    assert any("'a' is missing from 12 of 60 samples (present_a)" in note for note in notes)
    assert "without" not in text_of(verification_of(arrays(tmp_path), content=False))


def test_verify_names_the_fold_in_which_no_training_sample_has_a_modality(tmp_path: Path) -> None:
    split = np.repeat(["train", "val", "test"], [30, 15, 15])
    data = arrays(tmp_path, present_a=split != "val", group=split)
    told = text_of(verification_of(data, content=False))
    line = "    ABSENT: no training sample has a: this fold cannot be run with it"
    after = [text.splitlines() for text in told.split("  fold ")]
    assert [line in lines for lines in after] == [False, False, True, False, False]  # fold 1 of groups trains on val


def test_commands_refuse_a_modality_that_no_training_sample_has(tmp_path: Path) -> None:
    file = array_file(tmp_path / "set.npz", present_a=np.arange(60) >= 30)
    for words in (["describe"], ["data", "verify"], ["run", "--plan", "--methods", "joint", "--dataset"]):
        done = CliRunner().invoke(app, [*words, file])
        assert (done.exit_code, "no training sample has 'a'" in done.stderr) == (2, True), done.output


def test_equal_contents_are_found_whatever_absent_rows_hold(tmp_path: Path) -> None:
    """A test sample that copies a training sample, but for the values of a modality that both lack."""
    arrays_of = dict(np.load(array_file(tmp_path / "set.npz")))
    arrays_of["x_b"][50] = arrays_of["x_b"][4]
    present = np.ones(60, bool)
    present[[4, 50]] = False
    np.savez(tmp_path / "set.npz", **arrays_of, present_a=present)
    assert "LEAK by content" in text_of(verification_of(Arrays(tmp_path / "set.npz"), content=False))
