"""How a segment becomes a row of each array of a cache: from its first word, cut, and free of infinite values."""

from collections.abc import Mapping

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.datasets.cache.recipe import Clip, Field, Settings
from mcr_bench.datasets.media.decode import Unusable
from mcr_bench.datasets.sequences.pickles import samples_by_id
from mcr_bench.datasets.sequences.segment import MODALITIES, Sample

LABELS = "labels"
OWN = "own_"  # before a modality: the field of its own score


def fields(steps: Mapping[str, int], channels: Mapping[str, int]) -> dict[str, Field]:
    """One padded array (steps, channels) per modality. steps, channels: by modality.

    >>> fields(dict.fromkeys(MODALITIES, 50), {"text": 300, "audio": 5, "video": 20})["audio"].shape
    (50, 5)
    """
    return {m: Field((steps[m], channels[m]), "float32", padded=True) for m in MODALITIES}


def decode(clip: Clip, settings: Settings) -> dict[str, Array]:
    """The row of each field of one sample of a pickle; `Unusable` with the reason.

    settings: `steps` and `silence` as of `rows_of`. `labels`: whether the sample's labels (L,) are a field.
    `own`: the modalities whose own score () is a field.
    """
    sample = samples_by_id(clip.files["pickle"])[clip.id]
    rows = rows_of(sample.values, sample.aligned, settings)
    if settings.get("labels"):
        rows[LABELS] = np.array(sample.labels, np.uint8)
    return rows | {f"{OWN}{m}": _own(sample, m) for m in settings.get("own", ())}


def _own(sample: Sample, modality: str) -> Array:
    return np.array(sample.own[modality], np.float64)


def rows_of(values: Mapping[str, Array], aligned: bool, settings: Settings) -> dict[str, Array]:
    """Modality -> (T, C) float32; `Unusable` with the reason.

    As in MultiBench's loader, samples without text are dropped, and leading steps without text are removed from all
    modalities where these are aligned.
    values: modality -> (T, C) numbers. settings: `steps`, the highest number of steps, also by modality; `silence`,
    whether minus infinity in audio becomes 0 ("zero").
    """
    spoken = np.flatnonzero(values["text"].any(axis=1))
    if not len(spoken):
        raise Unusable("no text: all of its steps are zero" if len(values["text"]) else "no text: it has no steps")
    for m, x in values.items():
        if not len(x):
            raise Unusable(f"no {m}: it has no steps")
    if aligned and len({len(x) for x in values.values()}) > 1:
        steps = ", ".join(f"{m} {len(x)}" for m, x in values.items())
        raise Unusable(f"its modalities are not aligned: they have different numbers of steps ({steps})")
    first = {m: spoken[0] if aligned or m == "text" else 0 for m in MODALITIES}
    return {m: _finite(values[m][first[m] :][: _most(settings, m)], m, settings["silence"]) for m in MODALITIES}


def _most(settings: Settings, modality: str) -> int:
    """The highest number of steps of a modality."""
    steps = settings["steps"]
    return int(steps[modality] if isinstance(steps, Mapping) else steps)


def _finite(values: Array, modality: str, silence: str) -> Array:
    """The values (T, C) as float32; `Unusable` if some are infinite or NaN."""
    with np.errstate(over="ignore"):
        x = values.astype(np.float32)
    if modality == "audio" and silence == "zero":
        x[np.isneginf(x)] = 0
    bad = ~np.isfinite(x)
    if bad.any():
        silent = modality == "audio" and np.isneginf(x[bad]).all()
        remedy = " (dataset.silence=zero replaces them by 0)" if silent else ""
        shown = ", ".join(sorted({str(v) for v in x[bad]}))
        raise Unusable(f"{modality} has {int(bad.sum())} values that are {shown}{remedy}")
    return x
