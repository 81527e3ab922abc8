"""The family of the primary test, which is named before training where many methods are compared.

Holm's correction over dozens of methods asks for so many seeds that a real difference stays unseen; choosing the family
after the results would make the test worthless.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.statistics.power import pairs_needed

if TYPE_CHECKING:
    from mcr_bench.methods.base import Method

LARGEST = 8  # methods of a family; a comparison of no more methods is one family (our choice)
DEFAULT = "primary"  # the selection that is the family where none is named


def family_of(methods: "Iterable[type[Method]]", named: Sequence[str] | None) -> frozenset[str]:
    """The names of the methods in the family of the primary test; UserError for a family that cannot be.

    It is what is `named`, otherwise all methods if there are at most 8, and those that declare the selection
    "primary" if there are more. Unimodal runs are in no test.
    """
    compared = _compared(methods)
    return _usual(compared) if named is None else _checked(named, compared)


def commands_of(methods: Sequence[str], tested: Collection[str]) -> list[tuple[list[str], list[str]]]:
    """(methods, family) of the commands that plan further runs of these methods in the family that `tested` is.

    methods: names of methods without the unimodal one; tested: those of them that were planned in the family.

    It is one command wherever its family, empty for the usual one, can say so. Where it cannot, as a family has 2 to 8
    methods, those that are tested have commands of their own, which test all their methods.
    """
    family = [name for name in methods if name in tested]
    if _usual(methods) == frozenset(family):
        return [(list(methods), [])]
    if 2 <= len(family) <= LARGEST:
        return [(list(methods), family)]
    parts = [family[start : start + LARGEST] for start in range(0, len(family), LARGEST)]
    return [(part, []) for part in (*parts, [name for name in methods if name not in tested]) if part]


def _usual(compared: Sequence[str]) -> frozenset[str]:
    chosen = frozenset(compared)
    if len(compared) > LARGEST:
        chosen &= frozenset(registry.selections().get(DEFAULT, ()))
    return chosen or frozenset(compared)


def _compared(methods: "Iterable[type[Method]]") -> list[str]:
    return [cls.name for cls in methods if cls.role != "unimodal"]


def _checked(named: Sequence[str], compared: list[str]) -> frozenset[str]:
    selections = registry.selections()
    family = list(dict.fromkeys(name for word in named for name in selections.get(word, [word])))
    for name in family:
        if name not in compared:
            raise UserError(
                f"--family {name}: not among the methods of the comparison. Allowed: {', '.join(sorted(compared))}."
            )
    if not 2 <= len(family) <= LARGEST:
        raise UserError(f"--family names {len(family)} methods: a family has 2 to {LARGEST}. Name others.")
    return frozenset(family)


def family_line(methods: "Iterable[type[Method]]", family: frozenset[str]) -> str:
    """What is tested, and with how many seeds it can show anything; empty where all methods are one family.

    methods: those that are trained; members of the family that are left out on every dataset are not counted.
    """
    compared = _compared(methods)
    tested = sorted(family.intersection(compared))
    others = len(compared) - len(tested)
    if not others or not tested:
        return ""
    tests, every = len(tested) - 1, len(compared) - 1
    return (
        f"{len(compared)} methods. Primary test, named before training: {', '.join(tested)} (another family: "
        f"--family, at most {LARGEST}). It needs {pairs_needed(max(1, tests))} seeds to show a difference at p < .05. "
        f"The other {others} methods are explored, with a correction of their own: one family of all would need "
        f"{pairs_needed(every)} seeds."
    )
