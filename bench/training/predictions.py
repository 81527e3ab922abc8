"""Write predictions.parquet: the logits of every sample, from which later questions are answered without training.

Columns: part (val or test), id, group, label; and lists of C float32: logits, modality/M (from modality M alone),
split/M (its share of an additive head's logits) and subset/M1+M2 (from these modalities; `subset/` from none); and
present/M (bool) where some samples of a part lack modality M. Where the data says what is true of modality M alone
(`Split.own`), label/M is that, with which modality/M is to be compared. A regression's scores are in the user's unit:
labels are float64, and predictions are too where another unit is learned. Where a sample has several labels or scores,
label is a list: of 0 and 1 (int8), or of float64.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from mcr_bench.bench.core.files import whole_file
from mcr_bench.bench.fit.evaluated import Evaluation
from mcr_bench.datasets.base import Split

Part = tuple[Split, Evaluation, Mapping[tuple[str, ...], Tensor]]


def write_predictions(path: Path, parts: Mapping[str, Part]) -> None:
    """Write one row per sample of every part to `path`. A column that one part lacks is left out of all parts."""
    lacked = {m: None for split, *_ in parts.values() for m in split.present}
    tables = [_table(name, *part, lacked) for name, part in parts.items()]
    columns = [name for name in tables[0].column_names if all(name in table.column_names for table in tables)]
    table = pa.concat_tables([table.select(columns) for table in tables])
    with whole_file(path) as file:
        pq.write_table(table, file)


def _table(
    part: str,
    split: Split,
    evaluation: Evaluation,
    subsets: Mapping[tuple[str, ...], Tensor],
    lacked: Iterable[str],
) -> pa.Table:
    """lacked: the modalities that some samples of a part lack."""
    columns: dict[str, object] = {
        "part": pa.array([part] * len(split)),
        "id": pa.array(split.ids),
        "group": pa.array(split.groups if split.groups is not None else split.ids),
        "label": _label(split.labels),
        "logits": _lists(evaluation.logits),
    }
    columns |= {f"label/{m}": _label(truth.labels) for m, truth in split.own.items()}
    columns |= {f"present/{m}": pa.array(split.presence(m).cpu().numpy()) for m in lacked}
    columns |= {f"modality/{m}": _lists(z) for m, z in evaluation.modality_logits.items()}
    columns |= {f"split/{m}": _lists(z) for m, z in (evaluation.split_logits or {}).items()}
    columns |= {f"subset/{'+'.join(s)}": _lists(z) for s, z in subsets.items()}
    return pa.table(columns)


def _label(labels: Tensor) -> pa.Array:
    if labels.ndim == 1:
        return pa.array(labels.cpu().numpy())
    return _lists(labels if labels.is_floating_point() else labels.to(torch.int8))


def _lists(logits: Tensor) -> pa.Array:
    """Logits (N, C) as a column of N lists of C numbers."""
    flat = pa.array(logits.detach().cpu().numpy().ravel())
    return pa.FixedSizeListArray.from_arrays(flat, logits.shape[1])
