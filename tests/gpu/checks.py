"""What a check is: a function that raises where something is wrong, and the line that says how it ended."""

import os
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mcr_bench.bench.errors import in_words


class Skipped(Exception):
    """A check that cannot be made here, with the reason."""


@dataclass(frozen=True)
class Place:
    """Where the checks are made.

    name: the device, `cpu` or `cuda:N`.
    folder: an empty folder for the check's files.
    small: whether less is trained, as where the checks themselves are tested.
    """

    name: str
    folder: Path
    small: bool = False

    @property
    def processes(self) -> int:
        """How many processes train at a time. Two threads of each are busy, and they take turns on a GPU."""
        return 2 if self.small else max(2, min(6, (os.cpu_count() or 1) // 2))

    @property
    def gpu(self) -> bool:
        """Whether the device is a GPU of NVIDIA."""
        return self.name.startswith("cuda")

    def require_gpu(self, reason: str) -> None:
        """Skip the check on any other device."""
        if not self.gpu:
            raise Skipped(reason)


Check = Callable[[Place], str | None]  # returns what it measured, to be printed


@dataclass(frozen=True)
class Result:
    """How a check ended: PASS, FAIL or SKIPPED, with what it measured or why it failed or was skipped."""

    name: str
    verdict: str
    text: str = ""

    def __str__(self) -> str:
        return f"{self.verdict:7s} {self.name}" + (f": {self.text}" if self.text else "")


def carry_out(name: str, check: Check, place: Place) -> tuple[Result, str]:
    """The result of a check, and the traceback of an error in it."""
    place.folder.mkdir(parents=True, exist_ok=True)
    try:
        return Result(name, "PASS", check(place) or ""), ""
    except Skipped as reason:
        return Result(name, "SKIPPED", str(reason)), ""
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("mcr_bench"):
            return Result(name, "FAIL", in_words(error)), traceback.format_exc()
        return Result(name, "SKIPPED", f"{error.name} is not installed"), ""
    except Exception as error:  # of any type: the other checks are still made
        return Result(name, "FAIL", in_words(error) or type(error).__name__), traceback.format_exc()


def names_of(asked: str, parts: dict[str, dict[str, Check]]) -> Iterator[str]:
    """The parts that `PART` names, with commas or blanks between them; all for an empty text. ValueError if unknown."""
    names = asked.replace(",", " ").split()
    for name in names:
        if name not in parts:
            raise ValueError(f"unknown part '{name}'. Allowed: {', '.join(parts)}.")
    yield from (name for name in parts if not names or name in names)
