"""A folder of CREMA-D in the official layout that tests encode themselves, and split lists of its clips."""

import json
from pathlib import Path

from mcr_bench.datasets.raw import cremad_lists as lists
from mcr_bench.tests.support.media.media_files import write_audio, write_clip

ACTORS = [str(actor) for actor in range(1001, 1008)]
IDS = [f"{actor}_DFA_{emotion}_XX" for actor in ACTORS for emotion in sorted(lists.EMOTIONS)]


def tree(folder: Path, ids: list[str] = IDS) -> Path:
    """A folder in the official layout."""
    for seed, clip in enumerate(ids):
        write_clip(folder / f"VideoFlash/{clip}.flv", seconds=0.5, seed=seed, audio=False)
        write_audio(folder / f"AudioWAV/{clip}.wav", seconds=0.5, seed=seed)
    return folder


def folds_of(*test_actors: str) -> str:
    """The folds of a list that holds each of the actors for test once, the next one for validation; with .wav names."""
    names: dict[str, dict[str, list[str]]] = {}
    for fold, test in enumerate(test_actors, 1):
        val = ACTORS[(ACTORS.index(test) + 1) % len(ACTORS)]
        part = {test: "test", val: "val"}
        of = [(part.get(clip[:4], "train"), f"{clip}.wav") for clip in reversed(IDS)]
        names[str(fold)] = {p: [clip for q, clip in of if q == p] for p in ("train", "val", "test")}
    return json.dumps(names)


def rows_of(ids: list[str]) -> str:
    return "".join(f"{clip},{clip[9:12]}\r\n" for clip in ids)
