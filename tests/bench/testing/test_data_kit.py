"""The properties of datasets: those of the harness have them all, and each planted fault fails the right one."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.testing import kits
from mcr_bench.bench.testing.card import Checked, checked
from mcr_bench.bench.testing.data.datasets import PROPERTIES, opened_at
from mcr_bench.cli import app
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.mosi import Mosi
from mcr_bench.datasets.utd_mhad import UtdMhad
from mcr_bench.tests.datasets.test_utd_mhad import raw
from mcr_bench.tests.support.media import official_trees

SOUND = '''"""Features of a table, drawn once and written to a file, in two folds of groups."""
from dataclasses import dataclass
from typing import ClassVar
import hashlib
import os
import time

import numpy as np
import torch

from mcr_bench.bench.core.seeds import generator
from mcr_bench.bench.settings import setting
from mcr_bench.bench.task import Task
from mcr_bench.datasets.base import Card, Dataset, Facts, Modality, Protocol, Split, Splits, standardise

SCALE = 2.0


@dataclass
class Sensors(Dataset):
    """Two sensors of 60 samples by 12 speakers."""

    name: ClassVar[str] = "sensors"
    card: ClassVar[Card] = Card(title="Sensors", homepage="", licence="CC0", layout="", expected="60 samples")
    noise: float = setting(0.1, "standard deviation of noise that is added", at_least=0)

    def facts(self):
        return Facts({"heat": Modality((5,)), "sound": Modality((9, 2), padded=True)}, Task(3), ("a", "b", "c"))

    def protocols(self):
        return {"groups": Protocol("groups", "by speaker", "validation", "accuracy", folds=(1, 2, 3))}

    def fingerprint(self):
        return hashlib.sha256((self.location / "sensors.npz").read_bytes()).hexdigest()

    def load(self, protocol, fold, seed, modalities):
        with np.load(self.location / "sensors.npz") as file:
            held = dict(file)
        y, speaker = torch.from_numpy(held["y"]), held["speaker"]
        turn = (speaker + fold) % 6
        place = {"train": turn < 4, "val": turn == 4, "test": turn == 5}
        values = {m: torch.from_numpy(held[m]).float() for m in modalities}
        for m in values:
            draw = generator(seed, "data", m)
            values[m] = values[m] + self.noise * torch.randn(values[m].shape, generator=draw)
        lengths = torch.from_numpy(held["length"])
        parts = [self.part(np.flatnonzero(own), values, y, speaker, lengths) for own in place.values()]
        return standardise(Splits(*parts))

    def part(self, rows, values, y, speaker, lengths):
        own = {m: x[rows] for m, x in values.items()}
        ids, groups = [f"s{i}" for i in rows], [f"speaker {speaker[i]}" for i in rows]
        return Split(own, y[rows], ids, groups, {"sound": lengths[rows]} if "sound" in own else {})
'''


def write_sensors(folder: Path) -> None:
    """The file that the dataset reads."""
    draw, y = np.random.default_rng(0), np.arange(60) % 3
    (folder / "sensors").mkdir()
    np.savez(
        folder / "sensors/sensors.npz",
        heat=draw.normal(size=(60, 5)) * 4 + y[:, None],
        sound=draw.normal(size=(60, 9, 2)) + y[:, None, None],
        y=y,
        speaker=np.arange(60) // 5,
        length=1 + np.arange(60) % 9,
    )


def card(folder: Path, source: str = SOUND) -> Checked:
    """The card of a dataset in a file."""
    (folder / "my_set.py").write_text(source, encoding="utf-8")
    write_sensors(folder)
    ready = opened_at(str(folder / "my_set.py"), folder)
    return checked(ready.subject, "dataset", PROPERTIES, ready.of, ready.file)


def failures(told: Checked) -> dict[str, str]:
    return {one.property: one.reason for one in told.outcomes if one.state == "failed"}


def test_a_sound_dataset_of_others_has_every_property(tmp_path: Path) -> None:
    told = card(tmp_path)
    assert {one.property: one.reason for one in told.outcomes if one.state != "passed"} == {}


STANDARDISED = """        for m in values:
            draw = generator(seed, "data", m)
            values[m] = values[m] + self.noise * torch.randn(values[m].shape, generator=draw)
            values[m] = (values[m] - values[m].mean(0)) / values[m].std(0, correction=0)
"""
SCALED = """        for m in values:
            values[m] = values[m] / values[m].abs().max()
"""
DRAWN = SOUND[SOUND.index("        for m in values:") : SOUND.index("        lengths = torch")]
FAULTS: dict[str, tuple[tuple[str, str], ...]] = {
    "loads: 'heat' of part train has shape (40, 5); facts() says (6,) per sample": (
        ("Modality((5,))", "Modality((6,))"),
    ),
    "facts: is torch.float64; needed: torch.float32": (
        ("standardise(Splits(*parts))", "Splits(*parts)"),
        (".float()", ""),
    ),
    "facts: 'sound' is padded=True in facts()": (('{"sound": lengths[rows]} if "sound" in own else {}', "{}"),),
    "facts: padded steps of 'sound' in part train are not 0": (("standardise(Splits(*parts))", "Splits(*parts)"),),
    "finite: 'heat' of part test": (
        ("        return standardise(", "        parts[2].values['heat'][3] = torch.nan\n        return standardise("),
    ),
    "labels: the classes of part train are 1 to 3": (
        ('torch.from_numpy(held["y"])', 'torch.from_numpy(held["y"]) + 1'),
    ),
    "labels: no sample of the classes [3]": (("Task(3), ", "Task(4), "), ('("a", "b", "c")', "()")),
    "labels-agree: labels() and load() differ in part train": (
        (
            "    def part(",
            "    def labels(self, *_):\n        y = np.arange(60) % 3\n"
            "        return {'train': y[:40], 'val': y[:10], 'test': y[:10]}\n\n    def part(",
        ),
        ("turn < 4", "turn < 3"),
    ),
    "loads: the id 's0' is twice in part train": (('f"s{i}"', 'f"s{i // 2 * 2}"'),),
    "protocols: unknown metric 'acuracy'": (('"accuracy"', '"acuracy"'),),
    "protocols: fold 3": (("turn == 5}", "turn == 5}\n        place['val'] &= fold != 3"),),
    "folds-differ: folds 1 and 2 of protocol groups have the same samples": (("(speaker + fold)", "speaker"),),
    "disjoint: groups are in train and validation": (("(speaker + fold)", "(np.arange(60) + fold)"),),
    "loads: the id 's7' is in the parts train and test": (
        ("turn == 5", "(turn == 5) | (np.arange(60) == 7) | (np.arange(60) == 8)"),
    ),
    "training-alone: together, and not over train": (
        (DRAWN, STANDARDISED),
        ("standardise(Splits(*parts))", "masked(Splits(*parts))"),
    ),
    "training-alone: they depend on other parts": (
        (DRAWN, SCALED),
        ("standardise(Splits(*parts))", "masked(Splits(*parts))"),
    ),
    "same-seed: a second load of seed 0 differs in the values": (("generator=draw)", ")"),),
    "no-draws: the random state of torch": (("generator=draw)", ")"),),
    "no-draws: the random state of NumPy": (
        ("        turn =", "        speaker = speaker + 0 * np.random.randint(2)\n        turn ="),
    ),
    "subsets: are others if": (
        ('            draw = generator(seed, "data", m)\n', ""),
        ("        for m in values:\n", "        draw = generator(seed, 'data')\n        for m in values:\n"),
    ),
    "fingerprint: for the same data": (
        ("return hashlib.sha256(", "return str(time.perf_counter())\n        return hashlib.sha256("),
    ),
    "fingerprint: for a copy of the same files": (("return hashlib", "return str(self.location) + hashlib"),),
    "same-seed: when one object loads twice, the values of 'heat' in part train differ": (
        ("        turn =", "        self.calls = getattr(self, 'calls', 0) + 1\n        turn ="),
        ("self.noise *", "self.calls *"),
    ),
    "facts: several classes the name 'a'": (('("a", "b", "c")', '("a", "b", "a")'),),
    "facts: no training sample has 'heat'": (
        ('if "sound" in own else {})', 'if "sound" in own else {}, present={"heat": torch.zeros(len(rows)) > 0})'),
    ),
    "loads: 'heat' of part train: a ndarray. Give a tensor": (
        ("return standardise(Splits(*parts))", "return as_numpy(Splits(*parts))"),
    ),
    "loads: the targets of part train: a ndarray": (('torch.from_numpy(held["y"])', 'held["y"]'),),
    "loads: ids of part train: a ndarray. Give a list": (
        ('ids, groups = [f"s{i}" for i in rows]', 'ids, groups = np.array([f"s{i}" for i in rows])'),
    ),
    "loads: 'heat' of part train wants a gradient": (
        ("own = {m: x[rows] for m, x", "own = {m: x[rows].requires_grad_() for m, x"),
        ("standardise(Splits(*parts))", "Splits(*parts)"),
    ),
    "fingerprint-follows: the fingerprint is the same": (
        ("return hashlib.sha256(", 'return "1"\n        return hashlib.sha256('),
    ),
    "leaves-no-trace: the environment variable SENSORS is now": (
        ("        turn =", "        os.environ['SENSORS'] = str(time.perf_counter())\n        turn ="),
    ),
    "card: the card lacks licence": (('licence="CC0"', 'licence=""'),),
    "card: no docstring": (('    """Two sensors of 60 samples by 12 speakers."""\n', ""),),
    "loads: KeyError": (('held["speaker"]', 'held["actor"]'),),
}
MASKED = """

def masked(splits):
    for part in (splits.train, splits.val, splits.test):
        if "sound" in part.values:
            part.values = {**part.values, "sound": part.values["sound"] * part.mask("sound")}
    return splits


def as_numpy(splits):
    for part in (splits.train, splits.val, splits.test):
        part.values = {m: x.numpy() for m, x in part.values.items()}
    return splits
"""


def test_what_a_sample_lacks_may_hold_anything(tmp_path: Path) -> None:
    source = SOUND.replace("        turn =", "        held['heat'][::7] = np.nan\n        turn =").replace(
        'if "sound" in own else {})', 'if "sound" in own else {}, present={"heat": torch.from_numpy(rows % 7 > 0)})'
    )
    assert failures(card(tmp_path, source)) == {}


@pytest.mark.parametrize("told", FAULTS)
def test_a_planted_fault_fails_its_property(told: str, tmp_path: Path) -> None:
    source = SOUND + MASKED
    for old, new in FAULTS[told]:
        assert old in source, old
        source = source.replace(old, new)
    name, _, reason = told.partition(": ")
    failed = failures(card(tmp_path, source))
    assert name in failed, failed
    assert re.search(re.escape(reason), failed[name]), failed


def test_the_generated_dataset_has_every_property(tmp_path: Path) -> None:
    ready = opened_at("synthetic", tmp_path)
    assert failures(checked(ready.subject, "dataset", PROPERTIES, ready.of)) == {}


def test_a_file_of_arrays_has_every_property(tmp_path: Path) -> None:
    draw, y = np.random.default_rng(0), np.arange(90) % 3
    np.savez(
        tmp_path / "mine.npz",
        x_voice=draw.normal(size=(90, 16)) + y[:, None],
        x_face=draw.normal(size=(90, 8, 4)),
        length_face=1 + np.arange(90) % 8,
        y=y,
        split=np.repeat(["train", "val", "test"], 30),
        group=np.arange(90) // 10,
    )
    ready = opened_at(str(tmp_path / "mine.npz"), tmp_path)
    told = checked(ready.subject, "dataset", PROPERTIES, ready.of)
    assert {one.property: one.reason for one in told.outcomes if one.state != "passed"} == {}


def test_datasets_of_official_folders_have_every_property(tmp_path: Path) -> None:
    UtdMhad(tmp_path / "utd-mhad").prepare(Preparation(raw(tmp_path / "raw")))
    mosi = Mosi(tmp_path / "mosi")
    mosi.prepare(Preparation(official_trees.mosi(tmp_path / "pickles")))
    for name, failed in (("utd-mhad", {"labels"}), ("mosi", set())):  # this copy of UTD-MHAD has 2 of 27 actions
        ready = opened_at(name, tmp_path)
        assert failures(checked(ready.subject, "dataset", PROPERTIES, ready.of)).keys() == failed


def test_data_that_is_missing_is_not_a_fault_of_the_dataset(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mcr-bench data prepare utd-mhad"):
        opened_at("utd-mhad", tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (
            "    def facts(",
            "    def __post_init__(self):\n        raise OSError('no key')\n\n    def facts(",
            "OSError: no key",
        ),
        ("        with np.load", "        raise SystemExit('bye')\n        with np.load", "SystemExit: bye"),
    ],
)
def test_code_that_raises_anything_fails_loads_alone(old: str, new: str, reason: str, tmp_path: Path) -> None:
    failed = failures(card(tmp_path, SOUND.replace(old, new, 1)))
    assert failed.keys() == {"loads"}
    assert reason in failed["loads"]


@pytest.mark.parametrize(
    ("line", "told"), [("import no_such", "No module named 'no_such'"), ("1 / 0", "division by zero")]
)
def test_a_file_that_cannot_be_imported_is_a_user_error(line: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "my_set.py").write_text(SOUND.replace("SCALE = 2.0", line), encoding="utf-8")
    with pytest.raises(UserError, match=told):
        kits.opened(str(tmp_path / "my_set.py"), tmp_path)


def test_the_verb_takes_a_data_root_and_tells_what_dies(tmp_path: Path) -> None:
    source = SOUND + "\n    def labels(self, *_):\n        os._exit(7)\n"
    (tmp_path / "my_set.py").write_text(source, encoding="utf-8")
    write_sensors(tmp_path)
    done = CliRunner().invoke(app, ["check", str(tmp_path / "my_set.py"), "--data-root", str(tmp_path), "--json"])
    assert done.exit_code == 1, done.output
    told = json.loads(done.stdout)
    failed = {one["name"]: one["reason"] for one in told["properties"] if one["state"] == "failed"}
    assert failed == {"labels-agree": "it ends the process with exit code 7"}
    assert told["notes"]["data"] == f"{tmp_path / 'sensors'} (--data-root {tmp_path}; exists)"
