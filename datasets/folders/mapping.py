"""What a dataset.toml says: where the inputs, labels, parts and groups of the samples are, in the files beside it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcr_bench.bench.core.inputs.texts import text_of, toml_of
from mcr_bench.bench.errors import UserError, quoted, unknown
from mcr_bench.datasets.folders.sources import Source, source_of

NAME = "dataset.toml"
NEEDED, OPTIONAL = ("modalities", "label", "split"), ("file", "group", "id", "class_names")
BESIDE = ("length", "present")
# Kind of media -> its settings with their defaults; and the least and the largest value of each setting.
MEDIA: dict[str, dict[str, float]] = {
    "image": {"size": 64},
    "video": {"size": 64, "frames": 4},
    "sound": {"rate": 16000, "seconds": 3},
}
BOUNDS = {"size": (1, 1024), "frames": (1, 256), "rate": (1000, 192_000), "seconds": (0.1, 600)}
KINDS = ("array", *MEDIA)


@dataclass(frozen=True)
class Input:
    """Where a modality is.

    sources: one array, or several columns that together are a vector.
    kind: array; or image, video or sound if the source holds the paths of such files.
    settings: how media are decoded: size, frames, rate, seconds.
    beside: length and present -> where the arrays are that an .npz has as `length_<modality>`, `present_<modality>`.
    """

    sources: tuple[Source, ...]
    kind: str = "array"
    settings: Mapping[str, float] = field(default_factory=dict)
    beside: Mapping[str, Source] = field(default_factory=dict)


@dataclass(frozen=True)
class Described:
    """A dataset.toml.

    path: the file.
    inputs: modality -> where it is, in the order of the file.
    label: where the label is; several columns are several labels or scores.
    columns: split, and group and id if the set has them -> where they are.
    class_names: the names of the classes; empty if they are not stated.
    """

    path: Path
    inputs: dict[str, Input]
    label: tuple[Source, ...]
    columns: dict[str, Source]
    class_names: tuple[str, ...] = ()


def read_mapping(path: Path) -> Described:
    """The content of a dataset.toml; UserError that names the file, the key, what is allowed and the remedy."""
    content = _content(path)
    where = f"'{path}'"
    _check_keys(where, content, NEEDED, OPTIONAL)
    file = content.get("file", "")
    if not isinstance(file, str):
        raise UserError(f'{where}: file is {file!r}. Give the name of one file: file = "samples.csv".')
    inputs = content["modalities"]
    if not isinstance(inputs, dict) or not inputs:
        raise UserError(f'{where}: modalities is empty. Name one at least: [modalities] and voice = "voice.npy".')
    return Described(
        path,
        {m: _input(f"{where}: modalities.{m}", value, file) for m, value in inputs.items()},
        _sources(f"{where}: label", content["label"], file),
        {key: source_of(f"{where}: {key}", content[key], file) for key in ("split", "group", "id") if key in content},
        _names(where, content.get("class_names", [])),
    )


def _content(path: Path) -> dict[str, Any]:
    try:
        return toml_of(text_of(path).removeprefix("\ufeff"))  # Notepad writes the mark of UTF-8
    except OSError as error:
        raise UserError(f"'{path}' cannot be read ({error.strerror}). Make it readable.") from error
    except ValueError as error:
        raise UserError(
            f"'{path}' is not valid TOML ({quoted(error)}). Correct it as docs/data.md shows it."
        ) from error


def _check_keys(where: str, given: Collection[str], needed: tuple[str, ...], optional: tuple[str, ...]) -> None:
    for key in given:
        if key not in (*needed, *optional):
            raise UserError(f"{where}: {unknown('key', key, (*needed, *optional))} Rename it, or leave it out.")
    for key in needed:
        if key not in given:
            raise UserError(
                f"{where} does not state {key}. Needed: {', '.join(needed)}; optional: {', '.join(optional)}."
            )


def _names(where: str, given: object) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise UserError(f'{where}: class_names is {given!r}. Give a list of texts: class_names = ["no", "yes"].')
    return tuple(given)


def _sources(where: str, given: object, file: str) -> tuple[Source, ...]:
    """One source, or those of a list."""
    several = given if isinstance(given, list) else [given]
    if not several:
        raise UserError(f"{where} is an empty list. Name one column at least.")
    return tuple(source_of(where, one, file) for one in several)


def _input(where: str, given: object, file: str) -> Input:
    if not isinstance(given, dict):
        return Input(_sources(where, given, file))
    kinds = [kind for kind in KINDS if kind in given]
    if len(kinds) != 1:
        told = f"has {' and '.join(kinds)}" if kinds else f"has {', '.join(given) or 'nothing'}"
        raise UserError(f'{where} {told}. Give one of {", ".join(KINDS)}, such as {{ image = "photo", size = 64 }}.')
    (kind,) = kinds
    defaults = MEDIA.get(kind, {})
    _check_keys(where, given, (kind,), (*defaults, *BESIDE))
    settings = {key: _setting(f"{where}.{key}", key, given.get(key, value)) for key, value in defaults.items()}
    sources = _sources(where, given[kind], file)
    if defaults and len(sources) > 1:
        raise UserError(f"{where}: {kind} is a list. Name the one column that holds the paths of the files.")
    beside = {key: source_of(f"{where}.{key}", given[key], file) for key in BESIDE if key in given}
    return Input(sources, kind, settings, beside)


def _setting(where: str, key: str, value: object) -> float:
    low, high = BOUNDS[key]
    whole = key != "seconds"
    fits = not isinstance(value, bool) and isinstance(value, int if whole else int | float)
    if not fits or not isinstance(value, int | float) or not low <= value <= high:
        number = "a whole number" if whole else "a number"
        raise UserError(f"{where} = {value!r} is not allowed. Give {number} from {low} to {high}.")
    return value
