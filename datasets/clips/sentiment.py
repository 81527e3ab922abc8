"""Opinion segments of videos with a sentiment score: what CMU-MOSI and CMU-MOSEI share as datasets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.settings.declaration import setting
from mcr_bench.bench.task import TARGET_SCALE, Task
from mcr_bench.datasets.base import Facts
from mcr_bench.datasets.cache.opened import Cache
from mcr_bench.datasets.clips.dataset import Recipe, Rule, Scan
from mcr_bench.datasets.clips.sequences import SILENCE, SequenceSet
from mcr_bench.datasets.raw import mosi_raw as raw
from mcr_bench.datasets.sequences.segment import PARTS

DOWNLOAD = (
    "{pickle}, linked from https://github.com/pliang279/MultiBench; or aligned_50.pkl or unaligned_50.pkl, linked from "
    "https://github.com/thuiar/MMSA; or the sequences of the CMU Multimodal SDK "
    "(https://github.com/CMU-MultiComp-Lab/CMU-MultimodalSDK), aligned and deployed with it, and its standard folds"
)
PROTOCOLS = "standard  {videos} videos for training, validation and test: the parts of the pickle, or the SDK's folds"
CLASSES: dict[str, tuple[str, ...]] = {
    "regression": (),
    "binary": ("negative", "non-negative"),
    "seven": ("-3", "-2", "-1", "0", "1", "2", "3"),
}


@dataclass
class Sentiment(SequenceSet):
    """Text, audio and video features of a segment, aligned to words, with a score from -3 to 3.

    pickle: the name of MultiBench's file.
    folds: the numbers of videos for training, validation and test in the standard folds, in words.
    """

    group_name: ClassVar[str] = "video"
    pickle: ClassVar[str]
    folds: ClassVar[str]

    task: Literal["regression", "binary", "seven"] = setting(
        "regression",
        "what is learned: the score, negative against non-negative, or the score rounded to seven classes",
        origin="MCR paper",
    )
    silence: Literal["drop", "zero"] = setting("drop", SILENCE.format(samples="segments"))
    target_scale: Literal["standard", "none"] = setting("none", TARGET_SCALE, origin="MCR code")

    def scan(self, source: Path, splits: Sequence[Path]) -> Scan:
        """The segments of a pickle or of aligned .csd files."""
        return raw.scan(source, splits, self.pickle, self.channels, self.stated_steps)

    def recipe(self) -> Recipe:
        """Padded sequences from the first step with text."""
        return replace(super().recipe(), decode=raw.decode, libraries=("h5py", "numpy"))

    @cached_property
    def cache(self) -> Cache:
        """The prepared segments, labelled for `task`; all three tasks share one cache."""
        scored: Cache = super().cache
        return replace(scored, index=replace(scored.index, labels=targets(scored.index.labels, self.task)))

    def rule(self, part: Array, cache: Cache) -> Rule:
        """`standard`, the standard folds, with whole videos in each part."""
        groups = np.array(cache.index.groups)
        prepared = "/".join(str(len(set(groups[part == name]))) for name in PARTS.values())
        split = f"standard folds of {self.folds} videos for training, validation and test ({prepared} here)"
        metric = "accuracy" if self.class_names else "binary_accuracy"
        note = "" if self.class_names else "a score of 0 counts as non-negative (binary_accuracy_nonzero leaves it out)"
        return Rule(split, "validation", metric, lambda _: part, note=note)

    def facts(self) -> Facts:
        """Modalities and the task, with scores in the unit of `target_scale`."""
        facts = super().facts()
        return facts if self.class_names else replace(facts, task=Task(None, self.target_scale, sentiment=3))

    def missing_clips(self, cache: Cache) -> dict[str, list[str]]:
        """The SDK's folds -> their videos that are not in the cache; empty for a pickle, which has no list."""
        prepared = set(cache.index.groups)
        folds = cache.lists.get(raw.FOLDS)
        return {raw.FOLDS: [video for video in raw.videos_of(folds) if video not in prepared]} if folds else {}

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes of `task`; empty for regression."""
        return CLASSES[self.task]


def targets(scores: Array, task: str) -> Array:
    """Scores (n,) float64 -> targets (n,) of a task.

    They are the scores for regression (float64), 0 or 1 for negative or non-negative (binary, int64), or 0..6 for the
    score rounded to -3..3 (seven, int64; halves are rounded to the even number).

    >>> targets(np.array([-2.6, 0.0, 1.4]), "seven")
    array([0, 3, 4])
    """
    if task == "binary":
        return (scores >= 0).astype(np.int64)
    return (scores.round() + 3).astype(np.int64) if task == "seven" else scores.astype(np.float64)
