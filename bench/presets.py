"""Presets: named settings of a dataset and of methods on it, in the language of `--set`, each with its origin."""

import inspect
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcr_bench.bench.errors import UserError, unknown

if TYPE_CHECKING:
    from mcr_bench.datasets.base import Dataset

RESERVED = ("origin", "note", "seeds", "pairs")


@dataclass(frozen=True)
class Preset:
    """values: dotted settings. seeds: how many by default. pairs: (seed, fold) pairs where a paper fixes them."""

    name: str
    origin: str
    seeds: int
    values: Mapping[str, Any]
    pairs: tuple[tuple[int, int], ...] = ()
    note: str = ""


def presets_of(cls: "type[Dataset]") -> dict[str, Preset]:
    """The dataset's presets, the default one first."""
    path = _file(cls)
    if not path.is_file():
        return {"default": Preset("default", "defaults of the harness", 10, {})}
    tables = tomllib.loads(path.read_text())
    return {name: _preset(name, table, path) for name, table in tables.items()}


def preset_of(cls: "type[Dataset]", name: str | None) -> Preset:
    """One preset by name, None for the default; UserError for an unknown name."""
    known = presets_of(cls)
    if name is None:
        return next(iter(known.values()))
    if name not in known:
        raise unknown(f"preset of {cls.name}", name, known)
    return known[name]


def _file(cls: "type[Dataset]") -> Path:
    """Presets of a built-in set are package data; a third party's lie beside its module, under the same name."""
    if cls.__module__.startswith("mcr_bench.datasets."):
        return Path(str(resources.files("mcr_bench.datasets.presets"))) / f"{cls.__module__.rpartition('.')[2]}.toml"
    return Path(inspect.getfile(cls)).with_suffix(".toml")


def _preset(name: str, table: Mapping[str, Any], path: Path) -> Preset:
    if "origin" not in table:
        raise UserError(
            f"preset '{name}' in {path.name} has no origin; write origin = \"paper | official-code | tuned-here\"."
        )
    values = _flatten({k: v for k, v in table.items() if k not in RESERVED})
    pairs = tuple((int(seed), int(fold)) for seed, fold in table.get("pairs", ()))
    return Preset(
        name, table["origin"], int(table.get("seeds", len(pairs) or 10)), values, pairs, table.get("note", "")
    )


def _flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
