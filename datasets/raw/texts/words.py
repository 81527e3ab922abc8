"""Texts as words, words as codes that a cache stores, and the vocabulary of a training part."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from mcr_bench.bench.core.arrays import Array

WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
LINK = re.compile(r"https?://\S+")
LEAST = 2  # times that the training texts have a word which is in their vocabulary
KEPT = 100_000  # codes that are remembered


def words_of(text: str) -> list[str]:
    """The words of a text in lower case: letters and digits, with apostrophes inside; links are left out.

    >>> words_of("It's RAMEN_day\u2026 http://t.co/x1")
    ["it's", 'ramen', 'day']
    """
    plain = unicodedata.normalize("NFKC", LINK.sub(" ", text)).replace("\u2019", "'").lower()
    return WORD.findall(plain)


@lru_cache(maxsize=KEPT)
def code_of(word: str) -> int:
    """The first 63 bits of the SHA-256 of a text; never 0."""
    return int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big") >> 1 or 1


def codes_of(words: Sequence[str], steps: int) -> Array:
    """The codes (T, 1) int64 of the first words, at most `steps`; a single 0 for a text without words.

    >>> codes_of([], 9).tolist()
    [[0]]
    """
    return np.array([code_of(word) for word in words[:steps]] or [0], np.int64)[:, None]


def vocabulary(texts: Iterable[str]) -> bytes:
    """The words that the texts have at least twice as a list that a cache keeps, the most frequent first.

    >>> vocabulary(["a b", "B c", "b a"])
    b'b\\t3\\na\\t2\\n'
    """
    counts = Counter(word for text in texts for word in words_of(text))
    kept = sorted((-count, word) for word, count in counts.items() if count >= LEAST)
    return "".join(f"{word}\t{-count}\n" for count, word in kept).encode()


def vocabulary_list(protocol: str) -> str:
    """The name of the list with the vocabulary of a protocol."""
    return f"vocabulary-{protocol}.tsv"


def read_vocabulary(content: bytes) -> list[str]:
    """The words of a list of `vocabulary`.

    >>> read_vocabulary(vocabulary(["a a"]))
    ['a']
    """
    return [line.partition("\t")[0] for line in content.decode().splitlines()]
