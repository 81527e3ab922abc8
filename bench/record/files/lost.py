"""Files of runs that are missing or damaged: each is named once, with the remedy."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from mcr_bench.bench.errors import one_line
from mcr_bench.bench.record.files.checksums import Damaged

MOST_NOTES = 5  # more of them bury the answer of a command
REMEDY = "Copy it back from a backup, or train the run again with --force."


def state_of(error: Exception) -> Literal["damaged", "missing", "unreadable"]:
    """What is wrong with a file that could not be read: missing, damaged or unreadable."""
    if isinstance(error, Damaged):
        return "damaged"
    return "missing" if isinstance(error, FileNotFoundError | NotADirectoryError) else "unreadable"


@dataclass
class Lost:
    """The files that could not be read so far.

    note: takes the note on each of the first ones, and one that there are more.
    names: run id -> how notes call the run.
    notes: what was noted.
    """

    note: Callable[[str], object]
    names: dict[str, str]
    notes: list[str] = field(default_factory=list)
    known: set[tuple[str, str]] = field(default_factory=set)

    def add(self, run_id: str, name: str, error: Exception) -> None:
        """Note that the file `name` of a run could not be read, once."""
        if (run_id, name) in self.known:
            return
        self.known.add((run_id, name))
        if len(self.notes) < MOST_NOTES:
            self._say(f"left out: {self.names.get(run_id, 'a run')}: run {run_id}: {told(name, error)}")
        elif len(self.notes) == MOST_NOTES:
            self._say("left out: more files than these: `mcr-bench results --verify` names them all")

    def _say(self, line: str) -> None:
        self.notes.append(line)
        self.note(line)


def told(name: str, error: Exception) -> str:
    """What is wrong with the file `name` of a run, what follows, and the remedy."""
    return (
        f"its {name} is {state_of(error)} ({one_line(str(error), 500)}), so that what is computed from it is missing; "
        f"its metrics are not affected. {REMEDY}"
    )
