"""What `data info` says of a dataset: what to bring, from whom, how much room it takes, and how it is prepared."""

import textwrap
from typing import TYPE_CHECKING

from mcr_bench.bench.catalog.presets import preset_of
from mcr_bench.bench.catalog.resolve import resolve_dataset

if TYPE_CHECKING:
    from mcr_bench.datasets.base import Dataset

WIDTH = 120
UNITS = ("bytes", "kB", "MB", "GB", "TB")


def info_of(data: "Dataset") -> str:
    """The card, the room that the prepared set takes, and the command that prepares it."""
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
    """The room that the whole set takes once prepared and the command that prepares it, as far as there are such."""
    facts = {"size when prepared": prepared_size(data), "prepare": prepare_command(data)}
    return {key: text for key, text in facts.items() if text}


def prepare_command(data: "Dataset") -> str:
    """The command that prepares the set under its present dials, as far as they are not those of the default preset;
    '' where it is used as it is.
    """
    if not data.needs_preparation:
        return ""
    usual = resolve_dataset(preset_of(type(data), None).values, type(data))
    values = {key: (getattr(data, key), value) for key, value in usual.items()}
    dials = "".join(f" --set dataset.{key}={_text(v)}" for key, (v, value) in values.items() if v != value)
    return f"mcr-bench data prepare {data.name} --source DIR --data-root {data.location.parent}{dials}"


def prepared_size(data: "Dataset") -> str:
    """The room that the whole set takes once prepared, in words; '' where nobody can tell."""
    if data.prepared_size is None:
        return ""
    clips, size = data.prepared_size
    return f"{in_words(size)} with these settings: {clips:,} clips of {in_words(size / clips)}"


def in_words(size: float) -> str:
    """1,500,000 -> '1.5 MB'"""
    power = 0
    while size >= 999.5 and power + 1 < len(UNITS):
        size, power = size / 1000, power + 1
    return f"{size:.3g} {UNITS[power]}"


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _entry(key: str, text: str) -> str:
    """A layout keeps its lines; prose is wrapped."""
    if "\n" not in text:
        return "\n".join(_wrapped(f"{key}: {text}"))
    return "\n".join([f"{key}:", *(f"  {line}" for line in text.splitlines())])


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
