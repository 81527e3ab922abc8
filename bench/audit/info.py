"""What `data info` prints about a dataset: what to download, from whom, how much space it needs, how to prepare it."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from mcr_bench.bench.catalog.presets import preset_of
from mcr_bench.bench.catalog.resolve import resolve_dataset
from mcr_bench.bench.core.user_files import file_of

if TYPE_CHECKING:
    from mcr_bench.datasets.base import Dataset

WIDTH = 120
UNITS = ("bytes", "kB", "MB", "GB", "TB")


def info_of(data: "Dataset") -> str:
    """The card of the dataset, the disk space that it needs when prepared, and the command that prepares it."""
    card = data.card
    preparation = preparation_of(data)
    command = preparation.pop("prepare", "")
    facts = {
        "homepage": card.homepage,
        "download": card.download,
        "licence": card.licence,
        "expected": card.expected,
        "size": card.size,
        **preparation,
        "layout": card.layout,
        "protocols": card.protocols,
    }
    end = f"Then prepare it:\n  {command}" if command else "It needs no preparation."
    entries = [_entry(key, text) for key, text in facts.items() if text]
    return "\n".join([*_wrapped(f"{data.name}: {card.title}"), *entries, end])


def preparation_of(data: "Dataset") -> dict[str, str]:
    """The disk space of the whole dataset when prepared, and the command that prepares it; entries without text are
    left out.
    """
    facts = {"size when prepared": prepared_size(data), "prepare": prepare_command(data)}
    return {key: text for key, text in facts.items() if text}


def prepare_command(data: "Dataset") -> str:
    """The command that prepares the dataset with its present settings; '' if it needs no preparation.

    Settings that have the value of the default preset are left out.
    """
    if not data.needs_preparation:
        return ""
    default = resolve_dataset(preset_of(type(data), None).values, type(data))
    values = {key: getattr(data, key) for key in default}
    changed = "".join(f" --set dataset.{key}={_text(v)}" for key, v in values.items() if v != default[key])
    return f"mcr-bench data prepare {_as_given(type(data))} --source DIR --data-root {data.location.parent}{changed}"


def _as_given(cls: "type[Dataset]") -> str:
    """How commands name the dataset: by its name, or by the user's file and class that define it."""
    file = file_of(cls)
    if file is None:
        return cls.name
    here = Path.cwd()
    return f"./{file.relative_to(here)}:{cls.__name__}" if file.is_relative_to(here) else f"{file}:{cls.__name__}"


def prepared_size(data: "Dataset") -> str:
    """The disk space of the whole dataset when prepared, in words; '' if it is not known."""
    if data.prepared_size is None:
        return ""
    clips, size = data.prepared_size
    return f"{in_words(size)} with these settings: {clips:,} clips of {in_words(size / clips)}"


def in_words(size: float) -> str:
    """A number of bytes in words.

    >>> in_words(1_500_000)
    '1.5 MB'
    """
    power = 0
    while size >= 999.5 and power + 1 < len(UNITS):
        size, power = size / 1000, power + 1
    return f"{size:.3g} {UNITS[power]}"


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _entry(key: str, text: str) -> str:
    """One entry of the card. A text of several lines, such as a layout, keeps its lines; any other is wrapped."""
    if "\n" not in text:
        return "\n".join(_wrapped(f"{key}: {text}"))
    return "\n".join([f"{key}:", *(f"  {line}" for line in text.splitlines())])


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
