"""Sets of sequences of text, audio and video features: what those of pickles and of the CMU SDK share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.settings.declaration import Value, setting
from mcr_bench.datasets.base import Modality, require_spread
from mcr_bench.datasets.cache.opened import Cache
from mcr_bench.datasets.clips.dataset import ClipDataset, Recipe, Rule, Scan
from mcr_bench.datasets.clips.rows import View, standardised_view
from mcr_bench.datasets.sequences import rows
from mcr_bench.datasets.sequences.pickles import LIST, Label, no_pickle, pickle_in, read_parts, scan_pickle
from mcr_bench.datasets.sequences.segment import MODALITIES

SILENCE = (
    "{samples} with minus infinity (log energy of digital silence) in their audio; drop: leave them out, zero: "
    "replace the value by 0 as MultiBench's loader does; {samples} with NaN or other infinite values are always "
    "left out"
)
LAYOUT = "SOURCE/\n  {names}   {of}; it has the parts train, valid and test"
OF_AUDIO = "highest number of steps of audio where the modalities are not aligned; 0: as `steps`"
OF_VIDEO = "highest number of steps of video where the modalities are not aligned; 0: as `steps`"


@dataclass
class SequenceSet(ClipDataset):
    """Text, audio and video features of a sample over time; the parts are those of the raw files.

    pickles: the names that the pickle may have.
    videos: whether the names of samples say which video each is part of; otherwise each is a group of its own.
    split: the parts in words.
    metric: the name of the main metric.
    """

    pickles: ClassVar[tuple[str, ...]] = ()
    videos: ClassVar[bool] = True
    split: ClassVar[str] = "the parts of the pickle"
    metric: ClassVar[str] = "accuracy"

    steps: int = setting(
        50, "highest number of steps of a sample; later steps are cut off", origin="MultiBench", at_least=1
    )
    silence: Literal["drop", "zero"] = setting("zero", SILENCE.format(samples="samples"), origin="MultiBench")
    text_channels: int = setting(300, "features per step of text", origin="MultiBench", at_least=1)
    audio_channels: int = setting(5, "features per step of audio", origin="MultiBench", at_least=1)
    video_channels: int = setting(20, "features per step of video", origin="MultiBench", at_least=1)
    audio_steps: int = setting(0, OF_AUDIO, at_least=0)
    video_steps: int = setting(0, OF_VIDEO, at_least=0)

    def label_of(self) -> Label:
        """How the label of a clip is read from a sample of the pickle."""
        raise UserError(f"{self.name} reads no pickle.")

    @property
    def channels(self) -> dict[str, int]:
        """Modality -> the number of features per step."""
        return {"text": self.text_channels, "audio": self.audio_channels, "video": self.video_channels}

    @property
    def most_steps(self) -> dict[str, int]:
        """Modality -> the highest number of its steps."""
        return {m: n or self.steps for m, n in self.stated_steps.items()}

    @property
    def stated_steps(self) -> dict[str, int]:
        """Modality -> the highest number of its steps; 0 where the settings leave it to `steps`."""
        return {"text": self.steps, "audio": self.audio_steps, "video": self.video_steps}

    def acting(self, dials: Mapping[str, Value]) -> dict[str, Value]:
        """As for all datasets; steps of a modality's own count where they are set."""
        return {k: v for k, v in super().acting(dials).items() if k not in ("audio_steps", "video_steps") or v}

    def scan(self, source: Path, splits: Sequence[Path]) -> Scan:
        """The samples of the pickle, in the order of ids."""
        path = pickle_in(source, self.pickles)
        if path is None:
            raise no_pickle(source, self.pickles, self.card.layout)
        if splits:
            raise UserError(f"'{path}' has its own parts train, valid and test. Leave out --splits.")
        scan = scan_pickle(path, self.channels, self.stated_steps, self.label_of(), self.videos)
        scan.clips.sort(key=lambda clip: clip.id)
        return scan

    def recipe(self) -> Recipe:
        """Padded sequences from the first step with text."""
        settings: dict[str, object] = {"version": 1, "steps": self._steps, "silence": self.silence}
        return Recipe("features", settings, rows.fields(self.most_steps, self.channels), rows.decode, ("numpy",))

    @property
    def _steps(self) -> int | dict[str, int]:
        """The highest number of steps as the recipe has it: one number, or by modality where they differ."""
        most = self.most_steps
        return self.steps if set(most.values()) == {self.steps} else most

    def modalities(self) -> dict[str, Modality]:
        """Text, audio and video, each (steps, channels), padded."""
        most = self.most_steps
        return {m: Modality((most[m], self.channels[m]), padded=True) for m in MODALITIES}

    def view(self, modality: str, cache: Cache, train: Array) -> View:
        """How batches are made: each channel is standardised over the real steps of the training part."""
        return standardised_view(cache, modality, train, padded=True)

    def require(self, protocol: str, fold: int) -> None:
        """UserError if a part has no prepared clip, or if all training scores are equal."""
        super().require(protocol, fold)
        labels = self.cache.index.labels[self._part(protocol, fold) == "train"]
        require_spread(self.facts().task, labels, f"{self.name}, protocol {protocol}, fold {fold}")

    def rules(self, cache: Cache) -> dict[str, Rule]:
        """`standard`, the parts of the raw files."""
        part_of = read_parts(cache.lists[LIST])
        part = np.array([part_of[name] for name in cache.index.ids])
        return {"standard": self.rule(part, cache)}

    def rule(self, part: Array, cache: Cache) -> Rule:
        """The protocol `standard`. part: (n,) text, the part of each clip."""
        return Rule(self.split, "validation", self.metric, lambda _: part)
