"""What packages offer by entry points: one of them may be broken, and must not take the others with it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Generic, TypeVar

from mcr_bench.bench.errors import UserError, in_words, one_line

T = TypeVar("T")


@dataclass(frozen=True)
class Offered(Generic[T]):
    """What there is under several names.

    known: name -> what it means.
    left_out: a line for each name that leads to an error.
    """

    known: dict[str, T]
    left_out: tuple[str, ...] = ()


def loaded(point: EntryPoint) -> object:
    """What an entry point leads to; UserError where it cannot be imported, for whatever reason."""
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # of any type: modules are run
        raise UserError(
            f"'{point.name}' of {point.value} cannot be imported: {in_words(error)}. Update or remove its package."
        ) from error


def offered(names: Iterable[str], find: Callable[[str], T]) -> Offered[T]:
    """What `find` returns for each of the names; those for which it raises a UserError are left out."""
    known: dict[str, T] = {}
    left_out = []
    for name in names:
        try:
            known[name] = find(name)
        except UserError as error:
            left_out.append(one_line(f"left out: {name}: {error}"))
    return Offered(known, tuple(left_out))
