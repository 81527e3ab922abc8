"""The scores of a constant predictor for runs that did not log them, computed from their stored predictions."""

from collections.abc import Callable, Iterable

import pyarrow.compute as pc
import torch

from mcr_bench.bench.problem.floor import FLOOR, floor_metrics
from mcr_bench.bench.record.files.artifacts import Artifact
from mcr_bench.bench.record.files.scores import UNREADABLE, labels_of, opened
from mcr_bench.bench.record.files.threads import in_threads


def read_floors(
    run_ids: Iterable[str],
    find: Callable[[str], Artifact],
    lost: Callable[[str, Exception], object] = lambda *_: None,
) -> dict[str, dict[str, float]]:
    """Run id -> metric -> score of the constant on the test part; runs without readable predictions are left out.

    Training labels are not stored, so the constant is the best one for the labels of the validation part.

    lost: takes each run whose predictions cannot be read, with the reason.
    """
    wanted, floors = list(dict.fromkeys(run_ids)), dict[str, dict[str, float]]()
    for run_id, answer in zip(wanted, in_threads(lambda run_id: _read(run_id, find), wanted), strict=True):
        if isinstance(answer, Exception):
            lost(run_id, answer)
        elif answer:
            floors[run_id] = answer
    return floors


def _read(run_id: str, find: Callable[[str], Artifact]) -> dict[str, float] | Exception:
    try:
        with opened(find(run_id).content()) as parquet:
            table = parquet.read(columns=["part", "label"], use_threads=False)
        parts = (labels_of(table.filter(pc.equal(table["part"], part))["label"]) for part in ("val", "test"))
        known, test = (torch.tensor(labels) for labels in parts)
        floors = floor_metrics(known, test) if len(known) and len(test) else {}
        return {name.removeprefix(FLOOR): value for name, value in floors.items()}
    except (OSError, *UNREADABLE) as error:
        return error
