"""Which clips of a dataset are available and which are missing, and its samples as the audit sees them."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.problem.overlaps import Parts
from mcr_bench.bench.problem.samples import Split

BLOCK = 256  # samples hashed at a time: those on disk may be large


@dataclass(frozen=True)
class Inventory:
    """Which clips of a dataset are available, and what is known about the others.

    clips: the number of available clips.
    variants: (number of clips, name) of each known state of the dataset.
    left_out: (file or clip, reason) of everything that is not used.
    missing: name of a split list -> the clips that it lists and that are missing.
    unusable: the number of clips that could not be decoded.
    libraries: the versions of the libraries that decoded the clips; several if they were decoded at different times.
    installed: the versions of the same libraries that are installed now.
    findings: (clip, what looks wrong about it) of clips that are available.
    notes: (folder or list, remark) about files that leave no clip out by themselves.
    lists_alone: whether the clips are those that lists contain, whatever files are available.
    """

    clips: int
    variants: tuple[tuple[int, str], ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    missing: Mapping[str, list[str]] = field(default_factory=dict)
    unusable: int = 0
    libraries: tuple[str, ...] = ()
    installed: str = ""
    findings: tuple[tuple[str, str], ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    lists_alone: bool = False

    @property
    def is_partial(self) -> bool:
        """Whether the dataset is in no known state; without known states, whether any clip is left out or missing."""
        if self.lists_alone:
            return False
        if self.variants:
            return not (self.state(self.clips) or self.state(self.clips + self.unusable))
        return bool(self.left_out or any(self.missing.values()))

    def state(self, clips: int) -> str:
        """The known state with this number of clips; '' if there is none.

        >>> Inventory(5820, ((7442, "all clips"), (5820, "the vavl list"))).state(5820)
        '5,820 of 7,442: the vavl list'
        """
        names = [name for size, name in self.variants if size == clips]
        return f"{clips:,} of {max(size for size, _ in self.variants):,}: {' or '.join(names)}" if names else ""

    def counted(self) -> str:
        """The number of clips in words, with the name of the known state or with all known states.

        >>> Inventory(9, ((12, "the whole set"),)).counted()
        '9 clips, no known state (known: 12 the whole set)'
        """
        whole = self.state(self.clips + self.unusable) if self.unusable else ""
        if whole and not self.state(self.clips):
            return f"{whole}; {self.unusable:,} of them cannot be used, {self.clips:,} are left"
        return self.state(self.clips) or f"{self.clips:,} clips{self._known_states()}"

    def _known_states(self) -> str:
        known = ", ".join(f"{size:,} {name}" for size, name in self.variants)
        return f", no known state (known: {known})" if known else ""


def parts_of(splits: Mapping[str, "Split"], group_name: str) -> Parts:
    """Loaded parts (train, val, test -> split) as the audit sees them.

    The content of a sample is a hash of its values in all modalities. group_name: what a group is, such as actor.
    """
    loaded = list(splits.values())
    return Parts(
        np.repeat(list(splits), [len(split) for split in loaded]),
        [i for split in loaded for i in split.ids],
        [g for split in loaded for g in split.groups or []],
        [content for split in loaded for content in _contents(split)],
        torch.cat([split.target for split in loaded]).numpy(),
        group_name,
        {m: _presence(loaded, m) for m in loaded[0].values if any(m in split.present for split in loaded)},
    )


def _presence(splits: Sequence["Split"], modality: str) -> Array:
    """(N,) bool, whether each sample of the parts has the modality."""
    return np.concatenate([split.presence(modality).numpy() for split in splits])


def _contents(split: "Split") -> Iterator[str]:
    for first in range(0, len(split), BLOCK):
        inputs = split.batch(torch.arange(first, min(first + BLOCK, len(split)))).inputs
        tensors = [*inputs.values.values(), *inputs.lengths.values(), *inputs.present.values()]
        for row in zip(*(x.numpy() for x in tensors), strict=True):
            yield hashlib.sha256(b"".join(x.tobytes() for x in row)).hexdigest()
