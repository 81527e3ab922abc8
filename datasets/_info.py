"""What `data info` says of a dataset: what to bring, from whom, how much room it takes, and how it is prepared."""

from typing import TYPE_CHECKING

from mcr_bench.bench.settings import declared

if TYPE_CHECKING:
    from mcr_bench.datasets.base import Dataset

UNITS = ("bytes", "kB", "MB", "GB", "TB")


def info_of(data: "Dataset") -> str:
    """The card, the room that the prepared set takes, and the command that prepares it."""
    card = data.card
    facts = {
        "homepage": card.homepage,
        "download": card.download,
        "licence": card.licence,
        "expected": card.expected,
        "size": card.size,
        "size when prepared": prepared_size(data),
        "layout": card.layout,
        "protocols": card.protocols,
        "prepare": prepare_command(data) or "needs no preparation",
    }
    return "\n".join([f"{data.name}: {card.title}", *(_entry(key, text) for key, text in facts.items() if text)])


def prepare_command(data: "Dataset") -> str:
    """The command that prepares the set under its present dials; '' where it is used as it is."""
    if not data.needs_preparation:
        return ""
    values = {key: (getattr(data, key), one.default) for key, one in declared(type(data)).items()}
    dials = "".join(f" --set dataset.{key}={_text(v)}" for key, (v, default) in values.items() if v != default)
    return f"mcr-bench data prepare {data.name} --source DIR --data-root {data.location.parent}{dials}"


def prepared_size(data: "Dataset") -> str:
    """The room that the whole set takes once prepared, in words; '' where nobody can tell."""
    if data.prepared_size is None:
        return ""
    clips, size = data.prepared_size
    return f"{in_words(size)} ({clips:,} clips of {in_words(size / clips)}) with these settings"


def in_words(size: float) -> str:
    """1,500,000 -> '1.5 MB'"""
    power = 0
    while size >= 999.5 and power + 1 < len(UNITS):
        size, power = size / 1000, power + 1
    return f"{size:.3g} {UNITS[power]}"


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _entry(key: str, text: str) -> str:
    if "\n" not in text:
        return f"{key}: {text}"
    return "\n".join([f"{key}:", *(f"  {line}" for line in text.splitlines())])
