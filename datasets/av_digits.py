"""AV-Digits: spoken digits paired with images of written digits of the same class."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.seeds import generator
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.settings.declaration import setting
from mcr_bench.datasets.base import Card, Protocol
from mcr_bench.datasets.clips.packed import PackedDataset, Packing
from mcr_bench.datasets.contents.table import Table
from mcr_bench.datasets.formats.npz import read_arrays
from mcr_bench.datasets.raw.digits_raw import CLASSES, LAYOUT, RECIPE, as_arrays, read_images, recipe, scan
from mcr_bench.datasets.raw.raw_files import reading

CARD = Card(
    title="AV-Digits: recordings of the Free Spoken Digit Dataset (Jackson et al.), each paired with an image of MNIST "
    "(LeCun, Cortes, Burges) of the same class",
    homepage="https://github.com/Jakobovski/free-spoken-digit-dataset",
    licence="recordings: CC BY-SA 4.0, Zohar Jackson and contributors; MNIST: CC BY-SA 3.0 (as "
    "https://keras.io/api/datasets/mnist states it)",
    layout=LAYOUT,
    expected="3,000 recordings: 50 of each digit by each of 6 speakers; any number of them and of speakers is used",
    download="the folder recordings of the homepage's repository, and of MNIST the images and labels of the test part "
    "(10,000; the training part may be added) from https://yann.lecun.com/exdb/mnist or a mirror of it",
    size="about 26 MB and 2 MB",
    protocols="speakers: needs no list; a fold per speaker\nrandom: needs no list; 5 folds",
)
FOLDS = 5  # of protocol random


@dataclass
class AvDigits(PackedDataset):
    """The spectrogram of a spoken digit and the image of a written one; the group of a sample is its speaker."""

    name = "av-digits"
    card = CARD
    group_name = "speaker"
    whole = 3000

    pairing: int = setting(
        0, "number of the pairing of recordings and images, drawn within each class; the same for every run", at_least=0
    )

    def read(self) -> Table:
        """The recordings, each with its image."""
        arrays = read_arrays(self.file)
        labels, images = arrays["y"], arrays["image"]
        chosen = paired(labels, arrays["image_label"], self.pairing)
        values = {"voice": arrays["voice"], "digit": images[chosen][:, None].astype(np.float32)}
        speakers, ids = ([str(text) for text in arrays[key]] for key in ("speaker", "id"))
        return Table(self.file, values, labels, np.full(len(ids), "train"), ids, speakers, class_names=CLASSES)

    def protocols(self) -> dict[str, Protocol]:
        """`speakers` (leave one speaker out) if there are at least three, and `random`."""
        return self._protocols(self.table.groups or [])

    def _protocols(self, groups: Sequence[str]) -> dict[str, Protocol]:
        names = sorted(set(groups))
        speakers = Protocol(
            "speakers",
            f"fold k tests on speaker k of {', '.join(names)}; validates on the one before (1: on the last); "
            "trains on the rest",
            "validation (one speaker)",
            "accuracy",
            folds=tuple(range(1, len(names) + 1)),
            note="folds share training data",
        )
        random = Protocol(
            "random",
            "recordings of each digit dealt into 5 blocks: fold k tests on block k, validates on k + 1 (5: on 1), "
            "trains on the rest",
            "validation (one block)",
            "accuracy",
            folds=tuple(range(1, FOLDS + 1)),
            note="every speaker is in all parts; folds share training data",
        )
        return {one.name: one for one in ([speakers] if len(names) > 2 else []) + [random]}

    def part(self, protocol: str, fold: int) -> Array:
        """(N,) text, the part of each recording: train, val or test; UserError for an unknown protocol or fold."""
        return self._part(protocol, fold, self.table.groups or [], self.table.target)

    def _part(self, protocol: str, fold: int, groups: Sequence[str], labels: Array) -> Array:
        known = self._protocols(groups)
        if protocol not in known:
            raise unknown(f"protocol of {self.name}", protocol, known)
        folds = known[protocol].folds
        if fold not in folds:
            raise UserError(f"fold {fold}: protocol {protocol} has folds 1 to {folds[-1]} here.")
        if protocol == "random":
            return _parts(blocks(labels), fold - 1, fold % FOLDS)
        return _parts(np.unique(np.array(groups), return_inverse=True)[1], fold - 1, (fold - 2) % len(folds))

    def every_part(self) -> dict[tuple[str, int], Array]:
        """(protocol, fold) -> (N,) text, the part of each recording of the packed file."""
        with np.load(self.file, allow_pickle=False) as arrays:
            groups, labels = [str(name) for name in arrays["speaker"]], arrays["y"]
        known = self._protocols(groups)
        return {(p, k): self._part(p, k, groups, labels) for p, one in known.items() for k in one.folds}

    def packing(self, source: Path) -> Packing:
        """Recordings and images of a raw folder; UserError that names what is missing or wrong."""
        with reading(source):
            recordings, images = scan(source), read_images(source)
        labels = np.array([int(clip.label) for clip in recordings.clips])
        paired(labels, images.labels, self.pairing)
        return Packing(recordings, recipe(), partial(as_arrays, images=images), f"{RECIPE}; {images.digest}")

    def remarks(self) -> list[str]:
        """The number of images."""
        with np.load(self.file, allow_pickle=False) as arrays:
            return [f"{len(arrays['image_label']):,} images, of which each recording is given one of its class"]


def paired(labels: Array, image_labels: Array, pairing: int) -> Array:
    """The image of each recording, (N,) int64 indices: one of its class that no other recording has.

    labels: (N,) classes of recordings; image_labels: (I,) classes of images; pairing: the number of the draw.
    UserError for a class with fewer images than recordings.
    """
    chosen = np.zeros(len(labels), np.int64)
    for c in np.unique(labels):
        rows, images = np.flatnonzero(labels == c), np.flatnonzero(image_labels == c)
        if len(images) < len(rows):
            raise UserError(
                f"digit {c}: {len(rows)} recordings and only {len(images)} images, but no image may be used twice. "
                "Add the files of MNIST's other part, or leave recordings out."
            )
        order = torch.randperm(len(images), generator=generator(pairing, "data", "av-digits", "pairing", int(c)))
        chosen[rows] = images[order[: len(rows)].numpy()]
    return chosen


def blocks(labels: Array) -> Array:
    """The block (N,) from 0 to 4 of each recording: those of each class are shuffled once and dealt in turn."""
    block = np.zeros(len(labels), np.int64)
    for c in np.unique(labels):
        rows = np.flatnonzero(labels == c)
        order = torch.randperm(len(rows), generator=generator(0, "data", "av-digits", "random", int(c)))
        block[rows[order.numpy()]] = np.arange(len(rows)) % FOLDS
    return block


def _parts(block: Array, test: int, val: int) -> Array:
    """(N,) text, the part of each sample by its block (N,)."""
    return np.where(block == test, "test", np.where(block == val, "val", "train"))
