"""The contribution of every test sample to a run's primary metric, read from the files of runs."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mcr_bench.bench.record.files.artifacts import PREDICTIONS, SCORES, Artifact
from mcr_bench.bench.record.files.cache import Kept, SamplesCache
from mcr_bench.bench.record.files.checksums import Damaged, checksum
from mcr_bench.bench.record.files.scores import UNREADABLE, Rows, Stored, scores_in
from mcr_bench.bench.record.files.threads import in_threads

Names = tuple[NDArray[np.str_], NDArray[np.str_]]


@dataclass(frozen=True, eq=False)
class Samples:
    """The scores of a run's N test samples, in the order of its file. The arrays are read-only.

    Runs with equal ids and groups share these two arrays.

    ids: (N,) str, the id of each sample.
    groups: (N,) str, the group of each sample.
    score: (N,) float32; 1 if the largest logit is that of the class, or all labels of a sample are right, otherwise 0,
    with the accuracy as mean; in a regression the absolute error, averaged over scores, with the MAE as mean.
    """

    ids: NDArray[np.str_]
    groups: NDArray[np.str_]
    score: NDArray[np.float32]


class _Read(NamedTuple):
    """What came of reading a run.

    file: the name of its file, "" where it has none.
    kept: its scores; None where they could not be read.
    slow: whether the cache shall keep them.
    error: why they could not be read.
    """

    file: str
    kept: Kept | None = None
    slow: bool = False
    error: Exception | None = None


def read_samples(
    run_ids: Iterable[str],
    find: Callable[[str], Artifact],
    cache: Path,
    lost: Callable[[str, str, Exception], object] = lambda *_: None,
) -> dict[str, Samples]:
    """Run id -> its samples; runs without a readable file are left out.

    find: gives the file of a run's scores, or of its predictions where it has no other.
    cache: the file in which scores are kept that took long to get: computed from predictions, or fetched.
    lost: takes each run that is left out, the name of its file, and the reason.
    """
    wanted, store = list(dict.fromkeys(run_ids)), SamplesCache(cache)
    kept = store.read(wanted)
    known: dict[Stored, Rows] = {}
    read = in_threads(lambda run_id: _read(run_id, find, kept.get(run_id), known), wanted)
    every, fresh = dict[str, Kept](), dict[str, Kept]()
    for run_id, answer in zip(wanted, read, strict=True):
        if answer.error is not None:
            lost(run_id, answer.file, answer.error)
        elif answer.kept is not None:
            every[run_id] = answer.kept
            fresh |= {run_id: answer.kept} if answer.slow else {}
    store.write(fresh)
    named: dict[str, Names] = {}
    return {run_id: _samples(scores, named) for run_id, scores in every.items()}


def _samples(kept: Kept, named: dict[str, Names]) -> Samples:
    if kept.names not in named:
        named[kept.names] = _names(kept.names)
    score = np.frombuffer(kept.score, dtype="<f4")
    return Samples(*named[kept.names], score)


def _names(text: str) -> Names:
    ids, groups = (np.array(names, dtype=np.str_) for names in json.loads(text))
    ids.flags.writeable = groups.flags.writeable = False
    return ids, groups


def _read(run_id: str, find: Callable[[str], Artifact], kept: Kept | None, known: dict[Stored, Rows]) -> _Read:
    name = ""
    try:
        artifact = find(run_id)
        name = artifact.name
        if kept is not None and _is_of(kept, artifact):
            return _Read(name, kept)
        content = artifact.content()
        scores = scores_in(content, known)
        if name == SCORES and artifact.path is not None:
            name = PREDICTIONS
            _require(artifact.path.with_name(PREDICTIONS), scores.size)
        made = Kept(scores.names, scores.score, artifact.checksum or checksum(content), artifact.stamp)
        return _Read(name, made, slow=artifact.final and (artifact.path is None or artifact.name != SCORES))
    except (OSError, *UNREADABLE) as error:
        return _Read(name, error=error)


def _require(predictions: Path, size: int | None) -> None:
    """OSError where the predictions are missing, or do not have the bytes of those from which the scores were made."""
    if predictions.stat().st_size != size:
        raise Damaged(f"'{predictions}' does not have the {size} bytes that it was recorded with")


def _is_of(kept: Kept, artifact: Artifact) -> bool:
    """Whether these are the scores of this file: of its checksum, and the file has not been touched since."""
    return artifact.checksum in ("", kept.checksum) and kept.stamp == artifact.stamp
