"""Pickles of sentiment data in the forms of other projects: known by their keys, named, and how to convert them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MMSA = {
    *("raw_text", "text_bert", "annotations", "audio_lengths", "vision_lengths"),
    *("regression_labels", "classification_labels"),
}
FEWEST = 2  # of these keys in a part
CONVERT = """new = {}
for part, d in data.items():
    new[part] = {key: d[key] for key in ("text", "audio", "vision")}
    new[part]["labels"] = d["regression_labels"].reshape(-1, 1, 1)
    new[part]["id"] = numpy.array(d["id"])"""


@dataclass(frozen=True)
class Dialect:
    """Whose form it is; keys: by which it was known; remedy: what to do."""

    name: str
    keys: tuple[str, ...]
    remedy: str


def dialect_of(content: object) -> Dialect | None:
    """The foreign form of an unpickled file; None where it is none that is known."""
    if not isinstance(content, Mapping):
        return None
    return _mmsa(content) or _lists_of_words(content)


def _mmsa(content: Mapping[Any, Any]) -> Dialect | None:
    """Parts that are dicts of arrays, as MultiBench's are, under other keys."""
    keys = {str(key) for part in content.values() if isinstance(part, Mapping) for key in part}
    known = tuple(sorted(key for key in keys & MMSA))
    if len(known) < FEWEST:
        return None
    remedy = (
        "Take MultiBench's pickle, or convert the aligned file of MMSA (the parts of the unaligned one have different "
        f"steps), where `data` is what it holds:\n{CONVERT}\n"
        "and say the sizes of its features where they are others, as in --set dataset.text_channels=768."
    )
    return Dialect("MMSA", known, remedy)


def _lists_of_words(content: Mapping[Any, Any]) -> Dialect | None:
    """Parts that are lists of ((words, visual, acoustic), label, segment)."""
    parts = [content.get(name) for name in ("train", "dev", "test")]
    if not all(isinstance(part, list) and part and isinstance(part[0], tuple | list) for part in parts):
        return None
    remedy = "Its samples are words that a language model has yet to read. Take MultiBench's pickle."
    return Dialect("MAG-BERT and MISA", ("train", "dev", "test"), remedy)
