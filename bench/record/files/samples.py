"""The contribution of every test sample to a run's primary metric, read from the files of runs."""

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mcr_bench.bench.record.files.artifacts import PREDICTIONS, SCORES, Artifact
from mcr_bench.bench.record.files.cache import Kept, SamplesCache
from mcr_bench.bench.record.files.checksums import Damaged, checksum
from mcr_bench.bench.record.files.scores import UNREADABLE, Known, scores_of_predictions, stored_scores
from mcr_bench.bench.record.files.threads import in_threads

Names = tuple[NDArray[np.str_], NDArray[np.str_]]


@dataclass(frozen=True, eq=False)
class Samples:
    """The scores of a run's N test samples, in the order of its file. The arrays are read-only.

    Runs with equal ids and groups share these two arrays.

    ids: (N,) str, the id of each sample.
    groups: (N,) str, the group of each sample.
    score: (N,) float32, as `scored` gives it.
    """

    ids: NDArray[np.str_]
    groups: NDArray[np.str_]
    score: NDArray[np.float32]


class _Read(NamedTuple):
    """The scores that were read of a run. slow: whether the cache shall keep them, as getting them takes long."""

    kept: Kept
    slow: bool


def read_samples(
    run_ids: Iterable[str],
    find: Callable[[str, str], Artifact],
    cache: Path,
    lost: Callable[[str, Exception], object] = lambda *_: None,
) -> dict[str, Samples]:
    """Run id -> its samples; runs without readable predictions are left out.

    They come from the file of a run's scores, or from its predictions where there is none, as of earlier versions, or
    where it does not belong to the predictions that are there.

    find: gives, for a run and a name, the file. cache: the file in which scores are kept that took long to get:
    computed from predictions, or fetched. lost: takes each run that is left out, with the reason.
    """
    wanted, store = list(dict.fromkeys(run_ids)), SamplesCache(cache)
    kept = store.read(wanted)
    known: Known = {}
    read = in_threads(lambda run_id: _read(run_id, find, kept.get(run_id), known), wanted)
    every, fresh = dict[str, Kept](), dict[str, Kept]()
    for run_id, answer in zip(wanted, read, strict=True):
        if isinstance(answer, Exception):
            lost(run_id, answer)
        else:
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


def _read(run_id: str, find: Callable[[str, str], Artifact], kept: Kept | None, known: Known) -> _Read | Exception:
    """The scores of a run, or why there are none."""
    try:
        own = find(run_id, SCORES)
        if own.checksum:
            with suppress(OSError, *UNREADABLE):
                return _scores(own, kept, known)
        return _scores(find(run_id, PREDICTIONS), kept, known)
    except (OSError, *UNREADABLE) as error:
        return error


def _scores(artifact: Artifact, kept: Kept | None, known: Known) -> _Read:
    """The scores in a file, or by a file of predictions."""
    if kept is not None and artifact.checksum in ("", kept.checksum) and kept.stamp == artifact.stamp:
        return _Read(kept, slow=False)  # of this file, which has not been touched since
    content = artifact.content()
    is_small, here = artifact.name == SCORES, artifact.path
    scores = (stored_scores if is_small else scores_of_predictions)(content, known)
    made = Kept(scores.names, scores.score, artifact.checksum or checksum(content), artifact.stamp)
    if is_small and here is not None:
        _require(here.with_name(PREDICTIONS), scores.size)
        return _Read(made, slow=False)
    return _Read(made, slow=artifact.final)


def _require(predictions: Path, size: int) -> None:
    """OSError where the predictions are missing, or do not have the bytes of those from which scores were made."""
    if (there := predictions.stat().st_size) != size:
        raise Damaged(f"'{predictions}' has {there} bytes, and its scores were made of {size}")
