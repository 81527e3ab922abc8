"""What is said of a submission: what holds, what is wrong, and what nobody can prove from the archive alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["holds", "wrong", "unproven"]
Kind = Literal["numbers", "samples", "settings", "code"]
NEVER = (
    "that the numbers come from training with these settings and this code: only training the same runs again shows it",
    "that the epoch was selected on the validation part, and that the test part was used once",
    "that these are all runs that were made: seeds, settings or whole methods may have been left out",
    "curves, costs, device and versions: they are what the submitter's machine wrote down",
)


@dataclass(frozen=True)
class Said:
    """A statement about a submission.

    state: whether what was checked holds, is wrong, or cannot be proven.
    kind: what was checked: numbers, samples, settings or code.
    run: the run, as messages call it.
    text: what holds, what is wrong, or what is not proven and why.
    count: how many numbers or samples it is about.
    """

    state: State
    kind: Kind
    run: str
    text: str
    count: int = 1


@dataclass(frozen=True)
class Verified:
    """What came of checking a submission.

    name: the archive.
    runs: how many runs it holds.
    methods, datasets: what these are of.
    said: all statements, in the order of runs.
    """

    name: str
    runs: int
    methods: Sequence[str]
    datasets: Sequence[str]
    said: Sequence[Said]

    def of(self, state: State) -> list[Said]:
        """The statements with this state."""
        return [one for one in self.said if one.state == state]

    @property
    def holds(self) -> bool:
        """Whether nothing that can be checked is wrong."""
        return not self.of("wrong")
