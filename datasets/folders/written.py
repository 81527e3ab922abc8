"""`to_arrays`: the samples of a dataset of PyTorch or Hugging Face, written as a folder that `--dataset DIR` reads."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.files import whole_file, write_whole
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.contents.split_names import PARTS, WORDS
from mcr_bench.datasets.folders.mapping import NAME
from mcr_bench.datasets.folders.samples import LABELS, array_of_value, named_values, samples_of, stacked
from mcr_bench.datasets.folders.samples import NAME as ALLOWED

COLUMNS = ("split", "group", "id")


def to_arrays(
    dataset: Any,
    folder: str | Path = "mine",
    *,
    names: Sequence[str] | None = None,
    label: str | None = None,
    modalities: Sequence[str] | None = None,
) -> Path:
    """Write a dataset of PyTorch or Hugging Face as a folder of arrays, which `run` takes as it takes an .npz file.

    dataset: part -> dataset, such as {"train": ..., "val": ..., "test": ...} or a DatasetDict; or one dataset whose
        samples have a `split`. A sample is a dict, or a tuple of inputs and a label; `group` and `id` in it are kept.
    folder: where to write; it must not exist, or be empty.
    names: the names of the entries of a tuple, the label's too; by default m1, m2, ..., and label for the last.
    label: the name of the label, by default y, label, labels, target or targets.
    modalities: the entries that are inputs, by default all others.

    Sequences (T, C) that differ in T are padded, and their lengths kept; images of Pillow become (C, H, W). Returns the
    folder. UserError names the entry, what is allowed and the remedy.
    """
    place = Path(folder)
    if place.exists() and not (place.is_dir() and not any(place.iterdir())):
        raise UserError(f"to_arrays: '{place}' exists and is not an empty folder. Give another one, or remove it.")
    samples = _samples(dataset, names)
    called = _label(samples[0], label)
    inputs = list(modalities) if modalities is not None else [k for k in samples[0] if k not in (called, *COLUMNS)]
    _check(samples, inputs, called)
    if modalities is None:
        _check_alike(samples)
    _check_parts(samples)
    arrays = _inputs(samples, inputs)
    columns = [key for key in COLUMNS if key in samples[0]]
    arrays |= {"y": _column(samples, called), **{key: _column(samples, key) for key in columns}}
    for name, array in arrays.items():
        _save(place / f"{name}.npy", array)
    write_whole(place / NAME, _toml(inputs, set(arrays), columns, _class_names(dataset, called)))
    return place


def _inputs(samples: Sequence[Mapping[str, object]], inputs: Sequence[str]) -> dict[str, Array]:
    """Key as in an .npz -> array: the modalities, and the lengths of those that are padded."""
    arrays: dict[str, Array] = {}
    for m in inputs:
        values, lengths = stacked(m, [array_of_value(m, sample[m]) for sample in samples])
        if values.dtype.kind == "U":
            raise UserError(f"'{m}' is text. Make numbers of it in the dataset, or leave it out: modalities=[...].")
        arrays |= {f"x_{m}": values} if lengths is None else {f"x_{m}": values, f"length_{m}": lengths}
    return arrays


def _column(samples: Sequence[Mapping[str, object]], key: str) -> Array:
    values, lengths = stacked(key, [array_of_value(key, sample[key]) for sample in samples])
    if lengths is not None:
        raise UserError(f"'{key}' differs in length from sample to sample. Give each sample as many values.")
    return values


def _samples(dataset: Any, names: Sequence[str] | None) -> list[dict[str, object]]:
    """The samples of all parts, each with its part as `split`; UserError if there are none, or the part is unknown."""
    if isinstance(dataset, Mapping):
        pairs = [(part, sample) for part, one in dataset.items() for sample in samples_of(one)]
        samples = [{**named_values(sample, names), "split": str(part)} for part, sample in pairs]
    else:
        samples = [named_values(sample, names) for sample in samples_of(dataset)]
    if not samples:
        raise UserError("to_arrays: the dataset has no samples. Give one that has.")
    if "split" not in samples[0]:
        raise UserError(
            'to_arrays: the part of each sample is unknown. Give {"train": ..., "val": ..., "test": ...}, or samples '
            "with a 'split'."
        )
    return samples


def _label(sample: Mapping[str, object], label: str | None) -> str:
    like = [key for key in LABELS if key in sample]
    if label is None and len(like) > 1:
        raise UserError(
            f'to_arrays: a sample has {" and ".join(like)}. Name the label: label="{like[0]}"; all other entries are '
            "inputs, unless modalities=[...] names some."
        )
    called = label or next(iter(like), None)
    if called is None or called not in sample:
        raise UserError(
            f'to_arrays: a sample has no {label or "label"} (it has {", ".join(sample)}). Name it: label="...".'
        )
    return called


def _check(samples: Iterable[Mapping[str, object]], inputs: Sequence[str], label: str) -> None:
    if not inputs:
        raise UserError("to_arrays: no entry of a sample is an input. Name them: modalities=[...].")
    for m in inputs:
        if not ALLOWED.fullmatch(m):
            raise UserError(f"to_arrays: '{m}' cannot name a modality. Rename it (letters, digits, _, -).")
    for row, sample in enumerate(samples):
        if lacking := [key for key in (*inputs, label) if key not in sample]:
            raise UserError(
                f"to_arrays: sample {row} has no '{lacking[0]}' (it has {', '.join(sample)}). Give all samples the "
                "same entries, or name inputs that all have: modalities=[...]."
            )


def _check_alike(samples: Sequence[Mapping[str, object]]) -> None:
    """UserError for an entry that a later sample has and the first one lacks, as it would be lost."""
    for row, sample in enumerate(samples):
        if more := [key for key in sample if key not in samples[0]]:
            raise UserError(
                f"to_arrays: sample {row} has '{more[0]}', and sample 0 has not (it has {', '.join(samples[0])}). Give "
                "all samples the same entries, or name inputs that all have: modalities=[...]."
            )


def _check_parts(samples: Sequence[Mapping[str, object]]) -> None:
    """UserError for a part without a sample, without which nothing can be trained."""
    words = dict.fromkeys(str(sample["split"]) for sample in samples if "split" in sample)
    known = {WORDS.get(word.strip().lower()) for word in words}
    if lacking := [part for part in PARTS if part not in known]:
        remedy = (
            ' For "val" every tenth sample of train is a good choice: torch.utils.data.Subset(train, range(0, '
            'len(train), 10)), and for "train" the others (keep groups together).'
        )
        raise UserError(
            f"to_arrays: no sample is in {' or '.join(lacking)} (the dataset has {', '.join(words)}). Give all three, "
            f'{{"train": ..., "val": ..., "test": ...}}.{remedy if "val" in lacking else ""}'
        )


def _class_names(dataset: Any, label: str) -> list[str]:
    """The names of the classes where the dataset declares them, as those of Hugging Face do."""
    one = next(iter(dataset.values()), None) if isinstance(dataset, Mapping) else dataset
    features = getattr(one, "features", None)
    return list(getattr(features.get(label), "names", None) or []) if isinstance(features, Mapping) else []


def _save(path: Path, array: Array) -> None:
    with whole_file(path) as file:
        np.save(file, array, allow_pickle=False)


def _toml(inputs: Sequence[str], written: Collection[str], columns: Sequence[str], names: Sequence[str]) -> str:
    lines = ['label = "y.npy"', *(f'{key} = "{key}.npy"' for key in columns)]
    lines += [f"class_names = {json.dumps(names, ensure_ascii=False)}"] if names else []
    lines += ["", "[modalities]"]
    for m in inputs:
        padded = f"length_{m}" in written
        lines.append(f'{m} = {{ array = "x_{m}.npy", length = "length_{m}.npy" }}' if padded else f'{m} = "x_{m}.npy"')
    return "\n".join(lines) + "\n"
