"""Hints for keys and dtypes that people often use in an .npz: the line of Python that makes the expected form."""

import re

from mcr_bench.bench.core.arrays import Array

TARGETS = ("label", "labels", "target", "targets", "y_true", "class", "classes")
SPLITS = ("splits", "part", "fold", "set", "subset", "partition", "mode")
PART = r"(?:train|training|val|valid|validation|dev|test|testing)"


def rename_hint(keys: tuple[str, ...]) -> str:
    """A sentence that explains how the keys of a file become the expected ones; '' if that is not known.

    >>> rename_hint(("audio", "label", "split"))
    ' Rename label to y, audio to x_audio.'
    """
    if _is_by_part(keys):
        return _by_part(keys)
    renamed = _renamed(keys)
    return f" Rename {', '.join(f'{old} to {new}' for old, new in renamed.items())}." if renamed else ""


def tells_split(keys: tuple[str, ...]) -> bool:
    """Whether that sentence says how `split` is made.

    >>> tells_split(("x_audio", "y", "part")), tells_split(("audio", "y"))
    (True, False)
    """
    return _is_by_part(keys) or "split" in _renamed(keys).values()


def _is_by_part(keys: tuple[str, ...]) -> bool:
    """Whether there is one array for each part."""
    return any(re.fullmatch(rf".+_{PART}|{PART}_.+", key) for key in keys) and not {"y", "split"} & {*keys}


def _renamed(keys: tuple[str, ...]) -> dict[str, str]:
    """Key -> the expected one that it seems to be."""
    by_lower = {key.lower(): key for key in keys}
    renamed = {by_lower[word]: key for words, key in ((TARGETS, "y"), (SPLITS, "split")) for word in words
               if word in by_lower and key not in keys}  # fmt: skip
    if "y" not in keys and "Y" in keys:
        renamed["Y"] = "y"
    if not any(key.startswith("x_") for key in keys):
        others = [key for key in keys if key not in (*renamed, "y", "split", "group", "id", "class_names")]
        renamed |= {key: f"x_{re.sub('^X_', '', key)}" for key in others}
    return renamed


def _by_part(keys: tuple[str, ...]) -> str:
    """How to join one array per part, as many tutorials save them, and to make `split`."""
    of_parts = [key for key in keys if re.fullmatch(rf".+_{PART}|{PART}_.+", key)]
    names = {re.sub(rf"_{PART}$|^{PART}_", "", key) for key in of_parts}
    targets = {key for name in names for key in of_parts if name in key and name.lower() in ("y", *TARGETS)}
    ordered = [key for key in of_parts if key in (targets or of_parts)]
    joined = ", ".join(ordered)
    return (
        f" Join the parts: y = np.concatenate([{joined}]), each x_<modality> in the same order, and "
        f"split = np.repeat([{', '.join(repr(_part_of(key)) for key in ordered)}], [len(part) for part in ({joined})])."
    )


def _part_of(key: str) -> str:
    match = re.search(rf"_({PART})$|^({PART})_", key)
    assert match is not None
    return match[1] or match[2]


def dtype_hint(key: str, x: Array) -> str:
    """What to do about features of any shape that are not real numbers or have too many axes; '' if unknown."""
    if x.dtype.kind == "c":
        return f" It is complex: np.stack([{key}.real, {key}.imag], 1) or np.abs({key}) makes real numbers of it."
    if x.dtype.kind in "mM":
        return f" It holds times or dates: {key}.astype('int64') counts them from a fixed day; subtract the first."
    if x.dtype.kind in "biuf":
        return f" Join axes: {key}.reshape(len({key}), -1), or the last ones, {key}.reshape(*{key}.shape[:4], -1)."
    if x.dtype.names:
        return f" It is a table: np.stack([{key}[c] for c in {key}.dtype.names], 1) makes numbers of its columns."
    if x.dtype.kind not in "SU":
        return ""
    first = x.ravel()[0]
    try:
        float(first)
    except ValueError:
        return f" It is text ('{str(first)[:20]}', ...): make vectors of it first (embeddings, or one column per word)."
    return f" It holds numbers as text: save {key}.astype('float32')."
