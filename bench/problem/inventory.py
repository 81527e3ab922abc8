"""What is there of a dataset, and its samples as the audit sees them."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from mcr_bench.bench.problem.overlaps import Parts
from mcr_bench.bench.problem.samples import Split

BLOCK = 256  # samples hashed at a time: those on disk may be large


@dataclass(frozen=True)
class Inventory:
    """What is there of a set. variants: (clips, name) of its known states; left_out: (file or clip, reason).

    missing: split list -> the clips that it names and that are not there; unusable: clips that could not be decoded.
    libraries: versions of those that the clips were decoded with; installed: of the same libraries now.
    findings: (clip, what is odd about it), of those that are there; notes: (folder or list, what was found there).
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

    @property
    def is_partial(self) -> bool:
        """Whether this is no known state; where none is known, whether anything was left out or named in vain."""
        if self.variants:
            return not (self.state(self.clips) or self.state(self.clips + self.unusable))
        return bool(self.left_out or any(self.missing.values()))

    def state(self, clips: int) -> str:
        """The known state that has this number of clips: '5,820 of 7,442: the vavl list'; '' where none has."""
        names = [name for size, name in self.variants if size == clips]
        return f"{clips:,} of {max(size for size, _ in self.variants):,}: {' or '.join(names)}" if names else ""

    def counted(self) -> str:
        """The number of clips in words, with the known state or with all that are known."""
        known = ", ".join(f"{size:,} {name}" for size, name in self.variants)
        whole = self.state(self.clips + self.unusable) if self.unusable else ""
        if whole and not self.state(self.clips):
            return f"{whole}; {self.unusable:,} of them cannot be used, {self.clips:,} are left"
        return self.state(self.clips) or f"{self.clips:,} clips" + (
            f", no known state (known: {known})" if known else ""
        )


def parts_of(splits: Mapping[str, "Split"], group_name: str) -> Parts:
    """Loaded splits as the audit sees them; the content of a sample is a hash of its values in all modalities."""
    found = list(splits.values())
    return Parts(
        np.repeat(list(splits), [len(split) for split in found]),
        [i for split in found for i in split.ids],
        [g for split in found for g in split.groups or []],
        [content for split in found for content in _contents(split)],
        torch.cat([split.target for split in found]).numpy(),
        group_name,
    )


def _contents(split: "Split") -> Iterator[str]:
    for first in range(0, len(split), BLOCK):
        inputs = split.batch(torch.arange(first, min(first + BLOCK, len(split)))).inputs
        tensors = [*inputs.values.values(), *inputs.lengths.values()]
        for row in zip(*(x.numpy() for x in tensors), strict=True):
            yield hashlib.sha256(b"".join(x.tobytes() for x in row)).hexdigest()
