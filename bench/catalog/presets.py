"""Presets: named settings of a dataset and of methods on it, in the language of `--set`, each with its origin.

The shipped ones are read from beside the dataset; the user's own, which tuning writes, from HOME/presets/LABEL.toml.
"""

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.core.files import write_whole
from mcr_bench.bench.core.home import default_home
from mcr_bench.bench.core.inputs.texts import text_of, toml_of
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.settings.arguments import seeds_of

if TYPE_CHECKING:
    from mcr_bench.datasets.base import Dataset

Table = Mapping[str, object]  # settings as TOML gives them
RESERVED = ("origin", "note", "seeds", "pairs", "methods")
HEAD = "# Presets of your own; `mcr-bench tune` writes them. A table may be edited, renamed or removed."


@dataclass(frozen=True)
class Preset:
    """A named set of settings for the comparisons on a dataset.

    name: its name.
    origin: where its settings come from: paper, official-code, or tuned-here.
    seeds: the default number of seeds.
    values: dotted key -> value.
    pairs: the (seed, fold) pairs of a paper; empty if there are none.
    note: a note for cards and tables.
    methods: the methods that a search gave settings for; empty where the preset is not of a search.
    """

    name: str
    origin: str
    seeds: int
    values: Mapping[str, object]
    pairs: tuple[tuple[int, int], ...] = ()
    note: str = ""
    methods: tuple[str, ...] = ()

    def origin_for(self, method: str) -> str:
        """The origin of a method's settings: those of a method that the search gave none for are not tuned.

        >>> Preset("tuned", "tuned-here@20", 10, {}, methods=("a", "b")).origin_for("c")
        'not tuned for c, as its search gave settings for a, b alone; tune c with the same budget'
        """
        if not self.methods or method in self.methods:
            return self.origin
        searched = ", ".join(self.methods)
        return (
            f"not tuned for {method}, as its search gave settings for {searched} alone; tune {method} with the same "
            "budget"
        )


def presets_of(cls: "type[Dataset]", source: str | None = None, home: Path | None = None) -> dict[str, Preset]:
    """The dataset's presets: the shipped ones, the default first, then the user's.

    source: the dataset as named on the command line; adapters of files need it to find the user's presets.
    home: where these lie, by default MCR_BENCH_HOME or `results`. UserError for a file that cannot be understood.
    """
    shipped = _read(_file(cls)) or {"default": Preset("default", "defaults of the harness", 10, {})}
    label = registry.named_path(source).name if cls.suffixes and source else cls.name
    mine = user_presets(label, home)
    for name in mine.keys() & shipped.keys():
        path = user_file(label, home)
        raise UserError(f"preset '{name}' in {path} has the name of a shipped one. Rename that table.")
    return shipped | mine


def preset_of(cls: "type[Dataset]", name: str | None, source: str | None = None, home: Path | None = None) -> Preset:
    """One preset by name, None for the default; UserError for an unknown name. source, home: as in `presets_of`."""
    known = presets_of(cls, source, home)
    if name is None:
        return next(iter(known.values()))
    if name not in known:
        raise unknown(f"preset of {cls.name}", name, known)
    return known[name]


def user_presets(label: str, home: Path | None = None) -> dict[str, Preset]:
    """The user's own presets of the dataset that the record calls `label`; empty where there is no file."""
    return _read(user_file(label, home))


def user_labels(home: Path | None = None) -> list[str]:
    """The names of the files of the user's presets: what the record calls the datasets."""
    return sorted(path.stem for path in ((home or default_home()) / "presets").glob("*.toml"))


def user_file(label: str, home: Path | None = None) -> Path:
    """Where the user's presets of a dataset lie."""
    name = re.sub(r"[^\w.-]+", "-", label)
    return (home or default_home()) / "presets" / f"{name}.toml"


def write_user_preset(label: str, preset: Preset, home: Path | None = None) -> Path:
    """Write one preset of the user's, which replaces one of the same name; the others in the file stay.

    Of its methods, one defined in a file is not known to every command; the others leave its settings out.
    """
    path = user_file(label, home)
    path.parent.mkdir(parents=True, exist_ok=True)
    table: dict[str, object] = {"origin": preset.origin, "note": preset.note, "seeds": preset.seeds}
    table |= {"pairs": [list(pair) for pair in preset.pairs]} if preset.pairs else {}
    table |= {"methods": list(preset.methods), **preset.values}
    with FileLock(f"{path}.lock"):
        tables = {**_tables(path), preset.name: table}
        write_whole(path, _toml(tables))
    return path


def _file(cls: "type[Dataset]") -> Path:
    """Presets of a built-in set are package data; a third party's lie beside its module, under the same name."""
    if cls.__module__.startswith("mcr_bench.datasets."):
        return Path(str(resources.files("mcr_bench.datasets.presets"))) / f"{cls.__module__.rpartition('.')[2]}.toml"
    return Path(inspect.getfile(cls)).with_suffix(".toml")


def _read(path: Path) -> dict[str, Preset]:
    return {name: _preset(name, table, path) for name, table in _tables(path).items()}


def _tables(path: Path) -> dict[str, Table]:
    if not path.is_file():
        return {}
    try:
        content = toml_of(text_of(path))
    except (OSError, ValueError) as error:
        raise UserError(f"the presets in {path} cannot be read: {error}. Fix or delete the file.") from error
    tables: dict[str, Table] = {}
    for name, table in content.items():
        if not isinstance(table, dict):
            raise UserError(
                f"'{name}' in {path} is not a table. Give a preset as a table: [{name}], then its settings."
            )
        tables[name] = table
    return tables


def _preset(name: str, table: Table, path: Path) -> Preset:
    if "origin" not in table:
        raise UserError(
            f"preset '{name}' in {path.name} has no origin. Give origin = \"paper | official-code | tuned-here\"."
        )
    values = _flatten({k: v for k, v in table.items() if k not in RESERVED})
    methods = tuple(map(str, _list(table.get("methods"))))
    own = set(methods)
    absent = own - registry.setting_owners() if own else own
    values = {k: v for k, v in values.items() if k.partition(".")[0] not in absent}
    where = f"preset '{name}' in {path.name}"
    pairs = tuple(_pair(pair, where) for pair in _list(table.get("pairs")))
    seeds = _number(table.get("seeds", len(pairs) or 10), f"{where}: seeds")
    return Preset(name, str(table["origin"]), seeds, values, pairs, str(table.get("note", "")), methods)


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else []


def _pair(value: object, where: str) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise UserError(f"{where}: {value!r} is not allowed among the pairs. Give [seed, fold], such as [19, 2].")
    seed, fold = value
    (drawn,) = seeds_of([_number(seed, f"{where}: seed")], f"{where}: seed {seed}")
    return drawn, _number(fold, f"{where}: fold")


def _number(value: object, what: str) -> int:
    try:
        return int(str(value))
    except ValueError as error:
        raise UserError(f"{what} {value!r} is not allowed. Give a whole number.") from error


def _flatten(table: Table, prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in table.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _toml(tables: Mapping[str, Table]) -> str:
    """Tables of settings as TOML, every key quoted and whole: `"optimizer.lr" = 0.001`."""
    parts = [HEAD]
    for name, table in tables.items():
        lines = [f"{_text(key)} = {_value(value)}" for key, value in _flatten(table).items()]
        parts.append("\n".join([f"[{_text(name)}]", *lines]))
    return "\n\n".join(parts) + "\n"


def _value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return _text(value) if isinstance(value, str) else repr(value)


def _text(text: str) -> str:
    """A TOML basic string: that of JSON, with an escape for DEL, which JSON does not escape."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
