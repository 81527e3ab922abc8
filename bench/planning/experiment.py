"""Experiments as files: a TOML file gives requests for the plan, and the figures and tables to make of the results."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import resources
from pathlib import Path

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.user_classes import place_of
from mcr_bench.bench.core.inputs.texts import text_of
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.planning.experiment_file import Block, Document, Point, Setting, as_list, read_blocks
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.settings.arguments import seeds_of
from mcr_bench.bench.settings.declaration import Value

OF_A_DATASET = ("modalities", "protocol", "preset", "fold")  # keys that belong to the file's own dataset


@dataclass(frozen=True)
class Output:
    """What to make of the results.

    figures: the names of figures.
    tables: the names of tables.
    baseline: the method that differences refer to; None for the default.
    """

    figures: tuple[str, ...]
    tables: tuple[str, ...]
    baseline: str | None


@dataclass(frozen=True)
class Choices:
    """The options of the command line; None for one that was not given.

    settings: key -> values of `--set`. The other fields have the names of the options.
    """

    methods: list[str] | None = None
    family: list[str] | None = None
    datasets: list[str] | None = None
    modalities: tuple[str, ...] | None = None
    seeds: list[int] | None = None
    fold: int | None = None
    protocol: str | None = None
    preset: str | None = None
    settings: Mapping[str, list[str]] = field(default_factory=dict)
    data_root: Path = Path("data")


@dataclass(frozen=True)
class Experiment:
    """An experiment whose file has been checked.

    name: the name of the file in errors.
    title: the title.
    note: the note.
    output: the figures and tables to make.
    blocks: its comparisons, each with the keys of the top of the file.
    """

    name: str
    title: str
    note: str
    output: Output
    blocks: tuple[Block, ...]

    def requests(self, choices: Choices | None = None) -> list[Request]:
        """One request per comparison; choices replace what the file says.

        A dataset of some comparisons selects these. Another dataset replaces that of every comparison, whose
        modalities, protocol, preset and fold are then ignored. UserError if methods or datasets are missing.
        """
        choices = choices or Choices()
        return [_request(self.name, block, choices) for block in _on(self.blocks, choices.datasets)]

    def point_of(self, row: RunRow) -> Point | None:
        """The named point whose settings a run has; of several the one with the most settings. None without one."""
        points = [p for block in self.blocks for p in block.points if p.name and _has(row.settings, p)]
        return max(points, key=lambda p: len(p.settings), default=None)


def read_experiment(path_or_name: str) -> Experiment:
    """The experiment in a file, or the shipped one of that name; UserError with file, line and key."""
    path = _find(path_or_name)
    try:
        text = text_of(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path_or_name} cannot be read: {error}. Give a TOML file in UTF-8.") from error
    document = Document(path.name if path.parent == _folder() else str(path_or_name), text)
    top, rest = read_blocks(document)
    baseline = top.text("baseline")
    if baseline is not None and baseline not in registry.method_names():
        raise document.error(("baseline",), unknown("method", baseline, registry.method_names()))
    output = Output(_names(top, "figures"), _names(top, "tables"), baseline)
    blocks = tuple(_below(top, block) for block in rest) or (top,)
    title, note = top.text("title"), top.text("note") or ""
    return Experiment(document.name, path.stem if title is None else title, note, output, blocks)


def shipped() -> dict[str, Path]:
    """The experiments that come with the package, by file name."""
    return {path.name: path for path in sorted(_folder().glob("*.toml"))}


def _folder() -> Path:
    return Path(str(resources.files("mcr_bench.results"))) / "experiments"


def _find(name: str) -> Path:
    for candidate in (Path(name), Path(f"{name}.toml")):
        if candidate.is_file():
            return candidate
    if len(Path(name).parts) > 1:
        raise UserError(f"the experiment '{name}' is not a file. Give the path of a .toml file.")
    known = shipped()
    if (path := known.get(name) or known.get(f"{name}.toml")) is None:
        raise UserError(f"no file '{name}' here, and {unknown('shipped experiment', name, known)}")
    return path


def _names(block: Block, key: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(block.names(key)))


def _below(top: Block, block: Block) -> Block:
    """A comparison with the keys of the top added; a setting in any of its tables replaces that of the top."""
    own = {*block.fixed, *block.sweep, *(key for point in block.points for key in point.settings)}
    base = _without(top, own)
    hidden = {"title", "note", *_replaced(block.plain)}
    plain = {k: v for k, v in top.plain.items() if k not in hidden} | block.plain
    return Block(
        block.line,
        plain,
        {k: block.lines.get(k) or top.lines[k] for k in plain},
        base.fixed | block.fixed,
        base.sweep | block.sweep,
        block.points or base.points,
    )


def _replaced(keys: Iterable[str]) -> Iterable[str]:
    """The keys of the top that these replace: `pairs` replaces seeds and fold, and each of these replaces pairs."""
    return {"seeds", "fold"} if "pairs" in keys else {"pairs"} if {"seeds", "fold"} & set(keys) else ()


def _without(block: Block, keys: Iterable[str]) -> Block:
    """The block without these settings, fixed, swept or in points."""

    def kept(settings: Mapping[str, Setting]) -> dict[str, Setting]:
        return {k: s for k, s in settings.items() if k not in keys}

    points = tuple(replace(point, settings=kept(point.settings)) for point in block.points)
    return replace(block, fixed=kept(block.fixed), sweep=kept(block.sweep), points=points)


def _on(blocks: Sequence[Block], datasets: list[str] | None) -> list[Block]:
    """The blocks that these datasets select, each with those of the datasets that it names."""
    if datasets is None:
        return list(blocks)
    matches = [(block, [d for d in datasets if d in _names(block, "datasets")]) for block in blocks]
    if any(named for _, named in matches):
        return [_replace(block, datasets=named) for block, named in matches if named]
    return [_dropped(_replace(block, datasets=datasets), OF_A_DATASET) for block in blocks]


def _replace(block: Block, **plain: object) -> Block:
    """The block with plain keys of the command line, which have no line in the file."""
    lines = {k: line for k, line in block.lines.items() if k not in plain}
    return replace(block, plain=block.plain | plain, lines=lines)


def _dropped(block: Block, keys: Iterable[str]) -> Block:
    """The block without these keys; of (seed, fold) pairs the seeds remain."""
    plain, pairs = dict(block.plain), block.pairs
    if pairs is not None and "fold" in keys:
        plain = {k: v for k, v in plain.items() if k != "pairs"}
        plain["seeds"] = list(dict.fromkeys(seed for seed, _ in pairs))
    plain = {k: v for k, v in plain.items() if k not in keys}
    return replace(block, plain=plain, lines={k: line for k, line in block.lines.items() if k in plain})


def _request(name: str, block: Block, choices: Choices) -> Request:
    given: dict[str, object] = {
        "methods": choices.methods,
        "family": choices.family,
        "seeds": choices.seeds,
        "fold": choices.fold,
    }
    given |= {"protocol": choices.protocol, "preset": choices.preset}
    given |= {"modalities": None if choices.modalities is None else list(choices.modalities)}
    given = {k: v for k, v in given.items() if v is not None}
    if "fold" in given or ("seeds" in given and "pairs" in block.plain):
        block = _dropped(block, ("fold",))
    block = _without(_replace(block, **given), choices.settings)
    for key, option in (("methods", "--methods"), ("datasets", "--dataset")):
        if key not in block.plain:
            raise UserError(f"{name}, line {block.line}: '{key}' is missing. Add {key} = [...], or give {option}.")
    points = [{k: s.values[0] for k, s in point.settings.items()} for point in block.points]
    seeds = block.seeds
    return Request(
        methods=block.names("methods"),
        family=list(_names(block, "family")) or None,
        datasets=block.names("datasets"),
        data_root=choices.data_root,
        modalities=_names(block, "modalities") or None,
        seeds=None if seeds is None else seeds_of(seeds, _place(name, block, "seeds")),
        fold=block.number("fold"),
        protocol=block.text("protocol"),
        preset=block.text("preset"),
        overrides={k: list(s.values) for k, s in (block.fixed | block.sweep).items()} | dict(choices.settings),
        points=[point for number, point in enumerate(points) if point not in points[:number]],
        pairs=_pairs(name, block),
        optional=block.plain.get("optional") is True,
        title=block.text("title") or "",
        locate=partial(_locate, name, block),
    )


def _pairs(name: str, block: Block) -> list[tuple[int, int]] | None:
    """The (seed, fold) pairs of a comparison; UserError for a seed that is too large."""
    if block.pairs:
        seeds_of([seed for seed, _ in block.pairs], _place(name, block, "pairs"))
    return block.pairs


def _place(name: str, block: Block, key: str) -> str:
    return f"{name}, line {block.lines[key]}, '{key}'" if key in block.lines else f"--{key}"


def _locate(name: str, block: Block, text: str) -> str:
    """The text of an error, after the place of the key that it names first, or of the comparison."""
    named = re.match(r"unknown [^']*'([^']*)'", text)
    about = named.group(1) if named else re.split(r" Allowed| its methods are", text)[0]
    best: tuple[int, int, str] | None = None
    for word, key, line in _words(block):
        match = re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w-]|\.\w)", about)
        if match and (best is None or (match.start(), -len(word)) < best[:2]):
            best = match.start(), -len(word), f"line {line}, '{key}'"
    return f"{name}, {best[2] if best else f'line {block.line}'}: {text}"


def _words(block: Block) -> Iterable[tuple[str, str, int]]:
    """(word, key, line) of every word by which an error may name a key.

    Errors about values name a method's `lr` without the method.
    """
    for key, line in block.lines.items():
        for value in as_list(block.plain[key]) if key not in ("title", "note") else ():
            if isinstance(value, str):
                yield value, key, line
                yield Path(value).name, key, line
        yield f"--{key}", key, line
        if key == "pairs":
            yield "--fold", key, line
    for setting in (*block.fixed.values(), *block.sweep.values(), *_of_points(block.points)):
        head, _, rest = setting.key.partition(".")
        for form in {setting.key, rest, f"{head}.{rest.partition('.')[2]}"} - {"", f"{head}."}:
            yield form, setting.key, setting.line
            yield from ((f"{form}={value}", setting.key, setting.line) for value in setting.values)
        places = filter(None, map(place_of, setting.values))  # of nets of the user's own
        yield from ((f"'{place.path}'", setting.key, setting.line) for place in places)


def _of_points(points: Iterable[Point]) -> Iterable[Setting]:
    return [setting for point in points for setting in point.settings.values()]


def _has(settings: Mapping[str, Value], point: Point) -> bool:
    """Whether a run has all settings of the point."""
    return bool(point.settings) and all(_holds(settings, s.key, s.values[0]) for s in point.settings.values())


def _holds(settings: Mapping[str, Value], key: str, value: str) -> bool:
    """Whether a setting has the value; for a key such as METHOD.epochs the common setting `epochs` counts too."""
    known = settings.get(key, settings.get(key.partition(".")[2]))
    if known is None:
        return False
    text = str(known)
    return text.lower() == value.lower() or _number(text) == _number(value) is not None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
