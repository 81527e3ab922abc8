"""What runs on the same data tell of who has which modality, and where they contradict themselves or one another."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import and_
from typing import NamedTuple

from mcr_bench.bench.errors import one_line
from mcr_bench.bench.problem.absent import presence
from mcr_bench.bench.problem.overlaps import PARTS
from mcr_bench.bench.publish.predicted import Predicted
from mcr_bench.bench.publish.said import Said
from mcr_bench.bench.record.row import RunRow


class _Word(NamedTuple):
    """The ids of a part that have a modality and those that lack it, as a run says."""

    has: frozenset[str]
    lacks: frozenset[str]


@dataclass
class Told:
    """What runs with the same data, fold and seed tell of their samples.

    words: part and modality -> what is said of it -> the names of the runs that say so.
    void: name of a run -> the validation samples that lack all of its modalities, as it says itself.
    """

    words: dict[tuple[str, str], dict[_Word, list[str]]] = field(default_factory=dict)
    void: dict[str, frozenset[str]] = field(default_factory=dict)

    def add(self, row: RunRow, parts: Mapping[str, Predicted]) -> None:
        """Note what a run says of all of its samples; what cannot be does not count."""
        if void := _void(row, parts["val"]):
            self.void[row.name] = void
        for part, predicted in parts.items():
            for m in row.modalities:
                word = _word(predicted, m, void if part == "val" else frozenset())
                self.words.setdefault((part, m), {}).setdefault(word, []).append(row.name)

    def has_any(self, one: str, modalities: frozenset[str]) -> bool | None:
        """Whether a validation sample has any of the modalities; None where no run tells.

        That it lacks a modality counts where no run contradicts it.
        """
        words = [self.words.get(("val", m), {}) for m in modalities]
        if any(one in word.has for of_one in words for word in of_one):
            return True
        return False if all(any(one in word.lacks for word in of_one) for of_one in words) else None

    def contradictions(self) -> Iterator[Said]:
        """Runs that contradict themselves, and those that say of a sample what more runs contradict."""
        for name, ids in self.void.items():
            text = "it is validated on samples that lack all of its modalities, as it says itself"
            yield Said("wrong", "samples", name, f"{text}: {some(ids, 'val')}")
        for (part, m), words in self.words.items():
            ranked = sorted(words, key=lambda word: -len(words[word]))
            for at, word in enumerate(ranked):
                for other in ranked[:at]:
                    if ids := (word.has & other.lacks) | (word.lacks & other.has):
                        text = f"the samples that have '{one_line(m, 60)}' are not those of {words[other][0]}"
                        told = f"{text}: {some(ids, part)}, differ"
                        yield from (Said("wrong", "samples", name, told) for name in words[word])
                        break


def _void(row: RunRow, val: Predicted) -> frozenset[str]:
    """The validation samples of a run that lack all of its modalities: training leaves these out."""
    if not set(row.modalities) <= val.present.keys():
        return frozenset()
    lacking = reduce(and_, (~val.present[m] for m in row.modalities))
    return frozenset(val.ids[i] for i in lacking.nonzero().flatten().tolist())


def _word(predicted: Predicted, m: str, void: frozenset[str]) -> _Word:
    has = presence(predicted.present, m, len(predicted.ids)).tolist()
    having = frozenset(one for one, flag in zip(predicted.ids, has, strict=True) if flag)
    return _Word(having, frozenset(predicted.ids) - having - void)


def some(ids: Collection[str], part: str) -> str:
    """How many samples of a part these are, and the first id."""
    return f"{len(ids)} of the {PARTS[part]} part, such as '{one_line(min(ids), 60)}'"
