"""`training-alone` on one file per clip: it finds whose file it is by the effect, and blames no sound set."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mcr_bench.bench.problem.samples import Split, Splits, standardise
from mcr_bench.bench.testing.card import Outcome, outcome_of
from mcr_bench.bench.testing.data.datasets import PROPERTIES, opened_at
from mcr_bench.bench.testing.data.owners import changed_of, owner_of

CLIPS = '''"""Clips in a file each; the part is the beginning of its name."""
from dataclasses import dataclass
from typing import ClassVar
import hashlib

import numpy as np
import torch

from mcr_bench.bench.task import Task
from mcr_bench.datasets.base import Card, Dataset, Facts, Modality, Protocol, Split, Splits, standardise

PARTS = {"train": "a", "val": "b", "test": "c"}


@dataclass
class Clips(Dataset):
    """Clips of two channels."""

    name: ClassVar[str] = "clips"
    card: ClassVar[Card] = Card(title="Clips", homepage="", licence="CC0", layout="", expected="56 samples")

    def facts(self):
        return Facts({"motion": Modality((6, 2))}, Task(2))

    def protocols(self):
        return {"official": Protocol("official", "by name", "validation", "accuracy")}

    def files(self, part):
        return sorted(self.location.glob(f"{PARTS[part]}*"))

    def fingerprint(self):
        whole = b"".join(path.read_bytes() for part in PARTS for path in self.files(part))
        return hashlib.sha256(whole).hexdigest()

    def load(self, protocol, fold, seed, modalities):
        read = {part: np.stack([np.loadtxt(p, delimiter=",") for p in self.files(part)]) for part in PARTS}
        scaled = self.scaled({part: torch.from_numpy(x).float() for part, x in read.items()})
        parts = (
            Split({"motion": scaled[part]}, torch.arange(len(scaled[part])) % 2, [p.stem for p in self.files(part)])
            for part in PARTS
        )
        return Splits(*parts)

    def scaled(self, values):
        SCALED
'''
SOUND = {
    "not scaled": "return values",
    "scaled by the largest training value": "return {p: x / values['train'].abs().max() for p, x in values.items()}",
    "standardised with the training part": (
        "m, s = values['train'].mean((0, 1)), values['train'].std((0, 1))\n"
        "        return {p: (x - m) / s for p, x in values.items()}"
    ),
    "ranked among training values": (
        "edges = values['train'].flatten().sort().values\n"
        "        return {p: torch.searchsorted(edges, x.contiguous()).float() / len(edges) for p, x in values.items()}"
    ),
    "whitened with the training part": (
        "w = torch.linalg.cholesky(torch.cov(values['train'].reshape(-1, 2).T)).inverse()\n"
        "        return {p: x @ w.T for p, x in values.items()}"
    ),
}
LEAKING = {
    "scaled by the largest value of all": (
        "top = torch.cat(list(values.values())).abs().max()\n        return {p: x / top for p, x in values.items()}"
    ),
    "centred with training and validation": (
        "m = torch.cat([values['train'], values['val']]).mean((0, 1)) + 1\n"
        "        return {p: x - m for p, x in values.items()}"
    ),
    "whitened with all": (
        "w = torch.linalg.cholesky(torch.cov(torch.cat(list(values.values())).reshape(-1, 2).T)).inverse()\n"
        "        return {p: x @ w.T for p, x in values.items()}"
    ),
}


def training_alone(folder: Path, scaled: str) -> Outcome:
    """The outcome of the property for 40 training clips, which come first by name, and 8 of each other part."""
    (folder / "clips").mkdir()
    (folder / "my_clips.py").write_text(CLIPS.replace("SCALED", scaled), encoding="utf-8")
    draw = np.random.default_rng(1)
    for part, count in (("a", 40), ("b", 8), ("c", 8)):
        for n in range(count):
            values = draw.normal(size=(6, 2)) * (1, 5) + (0, 20)
            np.savetxt(folder / f"clips/{part}{n:02}.csv", values, fmt="%.5f", delimiter=",")
    (one,) = [one for one in PROPERTIES if one.name == "training-alone"]
    return outcome_of(one, opened_at(str(folder / "my_clips.py"), folder).of)


@pytest.mark.parametrize("scaled", SOUND)
def test_a_sound_set_of_one_file_per_clip_is_not_blamed(scaled: str, tmp_path: Path) -> None:
    outcome = training_alone(tmp_path, SOUND[scaled])
    assert (outcome.state, outcome.reason) == ("passed", "")


@pytest.mark.parametrize("scaled", LEAKING)
def test_a_training_part_that_depends_on_files_of_others_fails(scaled: str, tmp_path: Path) -> None:
    outcome = training_alone(tmp_path, LEAKING[scaled])
    assert outcome.state == "failed"
    assert "depend on" in outcome.reason


def test_a_leak_that_could_not_be_tried_is_not_called_absent(tmp_path: Path) -> None:
    """Files of a format that the check cannot change, scaled by the smallest and largest number of all parts."""
    (tmp_path / "clips").mkdir()
    leak = "every = torch.cat(list(values.values()))\n        return {p: (x - every.min()) / every.max() for p, x in "
    code = CLIPS.replace("SCALED", leak + "values.items()}")
    code = code.replace('np.loadtxt(p, delimiter=",")', "torch.load(p).numpy()")
    (tmp_path / "my_clips.py").write_text(code, encoding="utf-8")
    for part, count in (("a", 20), ("b", 8), ("c", 8)):
        for n in range(count):
            torch.save(torch.randn(6, 2), tmp_path / f"clips/{part}{n:02}.pt")
    (one,) = [one for one in PROPERTIES if one.name == "training-alone"]
    outcome = outcome_of(one, opened_at(str(tmp_path / "my_clips.py"), tmp_path).of)
    assert outcome.state == "not applicable"
    assert "its files hold no array or table" in outcome.reason


def splits(x: torch.Tensor, *, padded: bool = False) -> Splits:
    """Samples (30, T, C), 20 of them for training, standardised."""
    parts = []
    for name, rows in (("train", range(20)), ("val", range(20, 25)), ("test", range(25, 30))):
        own = list(rows)
        lengths = {"x": 1 + torch.tensor(own) % x.shape[1]} if padded else {}
        parts.append(Split({"x": x[own].clone()}, torch.zeros(len(own)), [f"{name}{n}" for n in own], None, lengths))
    return standardise(Splits(*parts))


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("row", [0, 7, 19])
def test_the_owner_of_a_changed_training_sample_is_found_where_all_samples_change(row: int, padded: bool) -> None:
    x = torch.randn(30, 4, 3, generator=torch.Generator().manual_seed(row))
    other = x.clone()
    other[row, 0] = 3 * other[row, 0] + 7
    before, after = splits(x, padded=padded), splits(other, padded=padded)
    assert all(changed.all() for changed in changed_of(before, after).values())
    assert owner_of(before, after) == "train"


@pytest.mark.parametrize(("row", "part"), [(22, "val"), (29, "test")])
def test_the_owner_of_another_part_is_found_where_all_samples_change(row: int, part: str) -> None:
    x = torch.randn(30, 4, 3, generator=torch.Generator().manual_seed(row))
    other = x.clone()
    other[row] = 3 * other[row] + 7
    before, after = (splits(v - v.mean(0)) for v in (x, other))
    for given, v in ((before, x), (after, other)):
        for name, rows in (("train", slice(0, 20)), ("val", slice(20, 25)), ("test", slice(25, 30))):
            getattr(given, name).values = {"x": ((v - v.mean(0)) / v.std(0))[rows]}
    assert owner_of(before, after) == part


def test_nothing_is_told_where_two_samples_have_changed() -> None:
    x = torch.randn(30, 4, 3, generator=torch.Generator().manual_seed(5))
    other = x.clone()
    other[3] = 3 * other[3] + 7
    other[24] = 9 - other[24]
    assert owner_of(splits(x), splits(other)) == ""
