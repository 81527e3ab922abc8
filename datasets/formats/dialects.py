"""Pickles of sentiment data in the formats of other projects: recognised by their keys, with how to convert them."""

from collections.abc import Mapping
from dataclasses import dataclass

MMSA = {
    *("raw_text", "text_bert", "annotations", "audio_lengths", "vision_lengths"),
    *("regression_labels", "classification_labels"),
}
FEWEST = 2  # of these keys make a format recognised
CONVERT = """new = {}
for part, d in data.items():
    new[part] = {key: d[key] for key in ("text", "audio", "vision")}
    new[part]["labels"] = d["regression_labels"].reshape(-1, 1, 1)
    new[part]["id"] = numpy.array(d["id"])"""


@dataclass(frozen=True)
class Dialect:
    """The format of another project.

    name: the project.
    keys: the keys by which the format was recognised.
    remedy: what the user should do.
    """

    name: str
    keys: tuple[str, ...]
    remedy: str


def dialect_of(content: object) -> Dialect | None:
    """The format of another project that an unpickled file has; None if it is not a known one.

    >>> part = {"raw_text": [], "text_bert": [], "audio": [], "vision": []}
    >>> dialect_of({"train": part, "valid": part, "test": part}).keys
    ('raw_text', 'text_bert')
    """
    if not isinstance(content, Mapping):
        return None
    return _mmsa(content) or _lists_of_words(content)


def _mmsa(content: Mapping[object, object]) -> Dialect | None:
    """MMSA: parts that are dicts of arrays, as in MultiBench, but with other keys."""
    keys = {str(key) for part in content.values() if isinstance(part, Mapping) for key in part}
    recognised = tuple(sorted(keys & MMSA))
    if len(recognised) < FEWEST:
        return None
    remedy = (
        "Use MultiBench's pickle, or convert the aligned file of MMSA (in the unaligned file the modalities have "
        f"different numbers of steps). With the content of the file in `data`:\n{CONVERT}\n"
        "If its features have other sizes, give them too, as in --set dataset.text_channels=768."
    )
    return Dialect("MMSA", recognised, remedy)


def _lists_of_words(content: Mapping[object, object]) -> Dialect | None:
    """MAG-BERT and MISA: parts that are lists of ((words, visual, acoustic), label, segment)."""
    parts = [content.get(name) for name in ("train", "dev", "test")]
    if not all(isinstance(part, list) and part and isinstance(part[0], tuple | list) for part in parts):
        return None
    remedy = "Its samples are words, which need a language model to become features. Use MultiBench's pickle."
    return Dialect("MAG-BERT and MISA", ("train", "dev", "test"), remedy)
