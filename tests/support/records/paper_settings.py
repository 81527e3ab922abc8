"""The presets of the MCR comparison as they resolve, and the table of where each of their settings comes from."""

import csv
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.presets import presets_of
from mcr_bench.bench.catalog.resolve import resolve_dataset, resolve_run
from mcr_bench.bench.models.declared import OF_WINDOWS
from mcr_bench.bench.settings.declaration import Value

FOLDER = resources.files("mcr_bench.results") / "published" / "settings"
ABOUT = tomllib.loads((FOLDER / "mcr_neurips2025.toml").read_text(encoding="utf-8"))
DATASETS = ("cremad", "ave", "ucf101", "mosi", "mosei", "something-something")
PRESETS = [(d, p) for d in DATASETS for p in presets_of(registry.dataset(d)) if p.startswith("paper")]
Place = tuple[str, str, str, str]  # dataset, preset, method, setting


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    dataset: str
    preset: str
    method: str
    setting: str
    value: str
    source: str
    note: str

    @property
    def place(self) -> Place:
        """What the line is about."""
        return self.dataset, self.preset, self.method, self.setting


def table() -> list[Row]:
    """The shipped table."""
    return [Row(**row) for row in csv.DictReader((FOLDER / "mcr_neurips2025.csv").read_text("utf-8").splitlines())]


@cache
def resolved(dataset: str, preset: str, method: str) -> dict[str, Value]:
    """Every setting of a method's runs under a preset, by its dotted key, as nothing but the preset decides it."""
    cls, found = registry.dataset(dataset), presets_of(registry.dataset(dataset))[preset].values
    dials = resolve_dataset(found, cls)
    run = resolve_run(found, registry.method(method), cls, tuple(cls(Path("nowhere"), **dials).modalities()))
    encoders = {
        f"{m}.{key}": value
        for m, inner in run.encoders.items()
        for key, value in inner.items()
        if key not in OF_WINDOWS or inner["kind"] == "windows"  # no other kind has them
    }
    parts = {"model": run.model, "encoder": encoders, "dataset": dials, method: run.method}
    return run.training | {f"{part}.{key}": v for part, values in parts.items() for key, v in values.items()}


def row_of(rows: Mapping[Place, Row], place: Place) -> Row | None:
    """The row of a setting: that of its preset and method, else of all methods, else of all presets."""
    dataset, preset, method, setting = place
    owners = [(dataset, preset, method), (dataset, preset, "all"), ("all", "all", method), ("all", "all", "all")]
    return next((rows[*owner, setting] for owner in owners if (*owner, setting) in rows), None)


@cache
def compared() -> list[str]:
    """The methods of the comparison: those of its Table 1, and the others that the table of settings tells of."""
    told = {row.method for row in table()}
    return [name for name in registry.method_names() if name in told or "table1" in registry.method(name).selections]


@cache
def settings() -> dict[Place, Value]:
    """Every resolved setting of the presets that are in the table, for every method of the comparison."""
    places = [(d, p) for d, p in PRESETS if p not in ABOUT["same"].get(d, {})]
    return {
        (dataset, preset, method, key): value
        for dataset, preset in places
        for method in compared()
        for key, value in resolved(dataset, preset, method).items()
    }


def differences(rows: Iterable[Row]) -> list[str]:
    """What does not agree: a setting without a row or with another value; a row that is double or that none reads."""
    rows = list(rows)
    by_place, read, found = {row.place: row for row in rows}, set(), []
    for place, value in settings().items():
        row = row_of(by_place, place)
        if row is None:
            found.append(f"{' '.join(place)} = {value}: the table has no row")
        else:
            read.add(row.place)
            found += [] if same(value, row.value) else [f"{' '.join(place)} = {value}: the table says {row.value}"]
    found += [f"{' '.join(row.place)}: no setting reads this row" for row in rows if row.place not in read]
    count = Counter(row.place for row in rows)
    return found + [f"{' '.join(place)}: twice" for place, times in count.items() if times > 1]


def same(value: Value, text: str) -> bool:
    """Whether a resolved value is the table's."""
    if isinstance(value, bool):
        return text == str(value).lower()
    return text == value if isinstance(value, str) else float(text) == float(value)
