"""Pickles in the form of the MMSA toolkit: aligned_50.pkl, unaligned_50.pkl and unaligned_39.pkl.

Text features are those of BERT. In unaligned files each modality has steps of its own, and `audio_lengths` and
`vision_lengths` say how many of them are real. CH-SIMS has a score of its own for each modality: regression_labels_T,
_A, _V.
"""

from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.sequences.multibench import identity
from mcr_bench.datasets.sequences.segment import (
    AGAIN,
    KEYS,
    PARTS,
    Content,
    Sample,
    features,
    names,
    require_equal,
    value_of,
)

FORM = "train, valid, test, each with text, audio, vision (n, T, C), regression_labels (n,), id (n,)"
MASK = 1  # the row of text_bert (n, 3, T) that is 1 at real words
OWN = {"text": "regression_labels_T", "audio": "regression_labels_A", "video": "regression_labels_V"}
KNOWN = {
    *("raw_text", "text_bert", "annotations", "audio_lengths", "vision_lengths"),
    *("regression_labels", "classification_labels"),
}
FEWEST = 2  # of these keys make the form recognised


def is_mmsa(content: Content) -> bool:
    """Whether the parts of an unpickled file have keys of this toolkit.

    >>> is_mmsa({"train": {"raw_text": [], "text_bert": [], "audio": [], "vision": []}})
    True
    """
    keys = {str(key) for part in content.values() if isinstance(part, dict) for key in part}
    return len(keys & KNOWN) >= FEWEST


def samples_of(path: Path, content: Content) -> list[Sample]:
    """The samples in the order of the file, without padding; UserError that names part and key of what is wrong."""
    seen: dict[str, int] = {}
    samples = []
    for name in PARTS:
        part = content[name]
        assert isinstance(part, dict)
        samples += _samples(path, name, part, seen)
    return samples


def _samples(path: Path, name: str, content: Content, seen: dict[str, int]) -> list[Sample]:
    values = features(path, name, content, FORM)
    scores = _numbers(path, name, "regression_labels", content)
    ids = names(path, name, content, FORM)
    own = {m: _numbers(path, name, key, content) for m, key in OWN.items() if key in content}
    counts = {**{m: len(x) for m, x in values.items()}, "regression_labels": len(scores), "id": len(ids)}
    require_equal(path, name, counts | {OWN[m]: len(y) for m, y in own.items()})
    aligned = len({x.shape[1] for x in values.values()}) == 1
    lengths = _lengths(path, name, content, values, aligned)
    return [
        Sample(
            *identity(of, seen),
            PARTS[name],
            (float(scores[row]),),
            {m: real_steps(x[row], int(lengths[m][row])) for m, x in values.items()},
            of[0],
            aligned,
            {m: float(y[row]) for m, y in own.items()},
        )
        for row, of in enumerate(ids)
    ]


def real_steps(x: Array, count: int) -> Array:
    """The real steps of a padded sequence (T, C): the first `count`, or the last ones if zeros stand in front.

    >>> real_steps(np.array([[0], [0], [5], [6]]), 2).tolist(), real_steps(np.array([[5], [6], [0], [0]]), 2).tolist()
    ([[5], [6]], [[5], [6]])
    """
    in_front = 0 < count < len(x) and not x[0].any() and x[-1].any()
    return x[len(x) - count :] if in_front else x[:count]


def _lengths(path: Path, name: str, content: Content, values: dict[str, Array], aligned: bool) -> dict[str, Array]:
    """Modality -> (n,) int64, its real steps; of aligned modalities those of the text."""
    text = _of_words(path, name, content, values["text"])
    if aligned:
        return dict.fromkeys(values, text)
    others = {m: _stated(path, name, f"{KEYS[m]}_lengths", content, values[m]) for m in ("audio", "video")}
    return {"text": text, **others}


def _of_words(path: Path, name: str, content: Content, text: Array) -> Array:
    """(n,) int64: the words that the mask of text_bert counts; without one, the steps up to the last that is not 0."""
    if "text_bert" not in content:
        return _up_to_last(text)
    tokens = value_of(path, name, "text_bert", content, FORM)
    if tokens.ndim != 3 or tokens.shape[1] != 3 or (len(tokens), tokens.shape[2]) != text.shape[:2]:
        raise UserError(
            f"'{path}': 'text_bert' of '{name}' has shape {tokens.shape}, but 'text' {text.shape}. Needed: (n, 3, T), "
            f"token ids, mask and segments. {AGAIN}"
        )
    mask = tokens[:, MASK]
    if not np.isin(mask, (0, 1)).all():
        raise UserError(f"'{path}': the mask of 'text_bert' of '{name}', its row {MASK}, is not 0 and 1. {AGAIN}")
    counts: Array = mask.sum(1).astype(np.int64)
    return counts


def _stated(path: Path, name: str, key: str, content: Content, x: Array) -> Array:
    """(n,) int64: the real steps as the file states them, at most all; without them, up to the last that is not 0."""
    if key not in content:
        return _up_to_last(x)
    lengths = _numbers(path, name, key, content)
    if len(lengths) != len(x) or not (np.isfinite(lengths) & (lengths >= 0) & (lengths == lengths.round())).all():
        raise UserError(
            f"'{path}': '{key}' of '{name}' are not the numbers of steps of its {len(x)} samples, which are whole and "
            f"not negative. {AGAIN}"
        )
    return lengths.astype(np.int64).clip(max=x.shape[1])


def _up_to_last(x: Array) -> Array:
    """(n,) int64: the steps (n, T, C) of each sample up to the last that is not 0."""
    real = (x != 0).any(2)
    return np.where(real.any(1), x.shape[1] - real[:, ::-1].argmax(1), 0)


def _numbers(path: Path, name: str, key: str, content: Content) -> Array:
    """(n,) float64 under a key, an array or a list."""
    value = content.get(key)
    try:
        y = np.asarray(value, np.float64) if isinstance(value, np.ndarray | list) else None
    except (TypeError, ValueError):
        y = None
    if y is None or y.ndim == 0 or y.size != len(y):
        raise UserError(f"'{path}': '{key}' of '{name}' is not one number per sample. Expected: {FORM}.")
    return y.reshape(-1)
