"""Pages made of what is declared: a page for each method, dataset, encoder and fusion head, commands, modules."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import typer

import mcr_bench
from mcr_bench.bench.catalog import nets, registry
from mcr_bench.bench.catalog.kind_of_file import Kind, registered
from mcr_bench.bench.report.cards import card_of
from mcr_bench.bench.report.export import plain
from mcr_bench.bench.testing.method_table import idea
from mcr_bench.cli import app

KINDS: dict[Kind, tuple[str, str]] = {
    "method": ("Methods", "`mcr-bench describe NAME` prints the card of a method."),
    "dataset": ("Datasets", "`mcr-bench describe NAME` prints the card of a dataset, also of a file of yours."),
    "encoder": (
        "Encoders",
        "`--set encoder.kind=NAME` chooses one, `--set encoder.MODALITY.kind=NAME` for a modality.",
    ),
    "fusion": ("Fusion heads", "`--set model.fusion=NAME` chooses one."),
}
ROOMS = {"terms": ("Terms of methods", "methods/terms"), "statistics": ("Statistics", "bench/statistics")}
ROOT = Path(mcr_bench.__file__).parent
CITED = ("reference", "official code")  # entries whose values speak for themselves
HEADS = {"key": "setting", "doc": "what it does"}
SHORT = 60  # characters of a text in a list that fits one line
ADDRESSES = {r"\d{4}\.\d{4,5}": "https://arxiv.org/abs/", r"github\.com/\S+": "https://", r"https?://\S+": ""}
OF_THE_MACHINE = (
    "data",
    "prepare",
    "size when prepared",
)  # entries of a card that say what is prepared where it is made


def write_pages(folder: Path) -> None:
    """Write the pages into a folder; those that are already there and equal keep their time, others there go."""
    pages = {"commands.md": commands_page(), **{f"{name}.md": room_page(*room) for name, room in ROOMS.items()}}
    for kind, names in registered().items():
        pages[f"{kind}s.md"] = index_page(kind, names)
        pages |= {f"{kind}/{name}.md": card_page(kind, name) for name in names}
    for path in folder.rglob("*.md"):
        if str(path.relative_to(folder)) not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def index_page(kind: Kind, names: Sequence[str]) -> str:
    """All of one kind in tables: the name with its page, and what it is."""
    title, text = KINDS[kind]
    by_group = groupby(sorted(names, key=lambda name: _group(kind, name)), key=lambda name: _group(kind, name))
    tables = [_index_table(kind, group, list(members)) for group, members in by_group]
    return "\n\n".join([f"# {title}", text, *tables, f"```{{toctree}}\n:hidden:\n:glob:\n\n{kind}/*\n```\n"])


def _index_table(kind: Kind, group: str, names: Sequence[str]) -> str:
    rows = [(f"[{name}]({kind}/{name}.md)", plain(_about(kind, name))) for name in names]
    return "\n\n".join([*([f"## {group.capitalize()}"] if group else []), _table(("name", "what it is"), rows)])


def _group(kind: Kind, name: str) -> str:
    return registry.method(name).group if kind == "method" else ""


def _about(kind: Kind, name: str) -> str:
    if kind == "method":
        return idea(registry.method(name))
    if kind == "dataset":
        return registry.dataset(name).card.title
    return nets.encoder(name).about if kind == "encoder" else nets.fusion(name).about


def card_page(kind: Kind, name: str) -> str:
    """The card of one: its description first, then every entry with a heading of its own."""
    card = card_of(name, Path("data"))
    parts = [f"# {name}", text_of(str(card.pop("description", "")))]
    for key, value in card.items():
        if key not in (kind, *OF_THE_MACHINE):
            parts.append(_entry(key, value))
    return "\n\n".join(filter(None, parts)) + "\n"


def _entry(key: str, value: object) -> str:
    title = key[0].upper() + key[1:]
    if key in CITED and isinstance(value, Mapping):
        return f"**{title}**: {', '.join(map(_value, value.values()))}"
    if _is_short(value):
        return f"**{title}**: {_value(value)}"
    return f"## {title}\n\n{_block(value)}"


def _is_short(value: object) -> bool:
    """Whether a value fits a line, without a heading."""
    if isinstance(value, list):
        return all(isinstance(one, str) and len(one) < SHORT for one in value)
    if isinstance(value, Mapping):
        return len(_value(value)) < 2 * SHORT
    return "\n" not in str(value)


def _block(value: object) -> str:
    """A value of a card as Markdown: settings and facts as tables, texts as a list, anything else as paragraphs."""
    if isinstance(value, Mapping):
        return _table(("", ""), [(plain(str(key)), _value(inner)) for key, inner in value.items()])
    if isinstance(value, list) and isinstance(value[0], Mapping):
        names = list(dict.fromkeys(name for row in value for name in row))
        return _table([HEADS.get(name, name) for name in names], [_row(row, names) for row in value])
    if isinstance(value, list):
        return "\n".join(f"- {_value(one)}" for one in value)
    return text_of(str(value))


def _row(row: Mapping[str, object], names: Sequence[str]) -> list[str]:
    return [f"`{row[name]}`" if name == "key" else _value(row.get(name, "")) for name in names]


def _value(value: object) -> str:
    """A value in one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{plain(str(key))}: {_value(inner)}" for key, inner in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or "none"
    text = _line(str(value))
    for pattern, address in ADDRESSES.items():
        if re.fullmatch(pattern, text):
            return f"[{text}]({address}{text})"
    return _words(text)


def text_of(text: str) -> str:
    """Paragraphs of plain text as Markdown; one whose words stand in columns, such as a tree of files, as a block."""
    paragraphs = re.split(r"\n\s*\n", text)
    return "\n\n".join(
        f"```text\n{one}\n```" if re.search(r"^ |\S  +\S", one, re.MULTILINE) else _words(one)
        for one in paragraphs
        if one.strip()
    )


def _words(text: str) -> str:
    """Text in Markdown, in which what stands between backquotes is code and nothing else has a meaning."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(
        part.replace("|", r"\|") if part.startswith("`") else re.sub(r"\S+", lambda word: plain(word[0]), part)
        for part in parts
    )


def room_page(title: str, room: str) -> str:
    """The functions and classes of a room and of the rooms in it, by module, from their docstrings."""
    folders = [ROOT / room, *sorted(one for one in (ROOT / room).iterdir() if (one / "__init__.py").is_file())]
    return "\n\n".join([f"# {title}", *(_folder(folder, ROOT / room) for folder in folders)]) + "\n"


def _folder(folder: Path, room: Path) -> str:
    package = ".".join((mcr_bench.__name__, *folder.relative_to(ROOT).parts))
    modules = [path.stem for path in sorted(folder.glob("*.py")) if path.stem != "__init__"]
    told = ["```{eval-rst}", f".. automodule:: {package}", "```"]
    for name in modules:
        told += ["", f"### {name}", "", "```{eval-rst}", f".. automodule:: {package}.{name}", "   :members:", "```"]
    return "\n".join([f"## {folder.name if folder != room else 'In all'}", "", *told])


def commands_page() -> str:
    """Every command with its arguments and options, as `--help` prints them."""
    parts = ["# Commands", "Every command takes `--help`."]
    for path, command in _commands(typer.main.get_command(app), "mcr-bench"):
        parts += [f"## {path}", _words(_line(command.help)), _options(command)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The commands below one, each with its path; Typer's, or those of Click, depending on its version."""
    for name, below in sorted(command.commands.items()):
        if hasattr(below, "commands"):
            yield from _commands(below, f"{path} {name}")
        elif not below.hidden:
            yield f"{path} {name}", below


def _options(command: Any) -> str:
    rows = [(_names(one), _words(_line(one.help))) for one in command.params]
    return _table(("argument", "what it does"), rows) if rows else ""


def _names(parameter: Any) -> str:
    names = [parameter.name.upper()] if parameter.param_type_name == "argument" else [*parameter.opts]
    return ", ".join(f"`{one}`" for one in (*names, *parameter.secondary_opts))


def _line(text: str | None) -> str:
    return " ".join((text or "").split())


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
