"""Pickles of sentiment data in the formats of other projects that cannot be read: recognised, with what to do."""

from collections.abc import Mapping
from dataclasses import dataclass


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
    """The format of another project that an unpickled file has; None if it is not a known one: MAG-BERT and MISA.

    Their parts are lists of ((words, visual, acoustic), label, segment).

    >>> dialect_of(dict.fromkeys(("train", "dev", "test"), [((), 1.0, "v[0]")])).name
    'MAG-BERT and MISA'
    """
    if not isinstance(content, Mapping):
        return None
    parts = [content.get(name) for name in ("train", "dev", "test")]
    if not all(isinstance(part, list) and part and isinstance(part[0], tuple | list) for part in parts):
        return None
    remedy = "Its samples are words, which need a language model to become features. Use MultiBench's pickle."
    return Dialect("MAG-BERT and MISA", ("train", "dev", "test"), remedy)
