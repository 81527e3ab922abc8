"""A validation part where a dataset publishes none: a tenth of each class of the training list, the same for all."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping

HELD_OUT = 0.1


def train_and_validation(labels: Mapping[str, int]) -> dict[str, str]:
    """Clip id -> train or val, for all clips of a training list; labels: id -> class.

    A tenth of each class is held out, the clips with the lowest SHA-256 of their ids, and at least one clip if the
    class has two or more. The clips of a partial copy have the same parts as in the whole dataset.
    """
    members: dict[int, list[str]] = defaultdict(list)
    for clip in sorted(labels, key=lambda clip: hashlib.sha256(clip.encode()).digest()):
        members[labels[clip]].append(clip)
    held = (clips[: max(round(HELD_OUT * len(clips)), int(len(clips) > 1))] for clips in members.values())
    return dict.fromkeys(labels, "train") | {clip: "val" for clips in held for clip in clips}
