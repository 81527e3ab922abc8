"""What a worker gets (Job), what it sends back (events), and who is informed of it (Observer)."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mcr_bench.bench.runs.spec import RunSpec


@dataclass(frozen=True)
class Job:
    """One run as a worker gets it.

    spec: the run to train.
    device: where to train it: `cpu`, `cuda:N` or `mps`.
    folder: the run's own folder, with its checkpoints, `predictions.parquet` and `log.txt`, until it is finished.
    weights: the key of a run that this one starts from -> the file of that run's best weights.
    weights_out: the file for this run's best weights.
    deterministic: whether only algorithms may be used that give the same bits every time.
    room: the free memory in MiB without which the run should not start, as others train on its GPU; 0 for any.
    alone: whether it has its GPU to itself, because it ran out of memory while others shared it.
    sharing: the most runs that may be on its GPU at a time, itself included.
    """

    spec: "RunSpec"
    device: str
    folder: Path
    weights: dict[str, Path]
    weights_out: Path
    deterministic: bool = False
    room: float = 0.0
    alone: bool = False
    sharing: int = 1

    @property
    def predictions(self) -> Path:
        """The file of the run's predictions."""
        return self.folder / "predictions.parquet"

    @property
    def log(self) -> Path:
        """The file of what the worker printed while it trained this run."""
        return self.folder / "log.txt"


class Shortage(StrEnum):
    """What a run lacked of its GPU's memory.

    ROOM: before it started, less was free than `Job.room`; it has done nothing.
    MEMORY: it ran out of memory.
    """

    ROOM = "room"
    MEMORY = "memory"


@dataclass(frozen=True)
class EpochDone:
    """An epoch of a run has ended.

    key: the run's key.
    epoch: the number of the epoch, from 1.
    epochs: the largest number of epochs of the run.
    metrics: the epoch's values by name, such as `val/accuracy`.
    when: the time of its end, in seconds since 1970.
    """

    key: str
    epoch: int
    epochs: int
    metrics: dict[str, float]
    when: float


@dataclass(frozen=True)
class Told:
    """Something about a run that its user should know now; it goes on.

    key: the run's key.
    text: one or two sentences.
    """

    key: str
    text: str


@dataclass(frozen=True)
class RunDone:
    """A run has been trained and tested.

    key: the run's key.
    metrics: its final values by name, such as `test/accuracy`.
    seconds: the time that its training took, without interruptions.
    tags: texts about the run for the record, such as the GPU's name.
    reserved: the most memory in MiB that it had taken from its GPU at once; 0 elsewhere.
    short: MEMORY if diagnostics of the run are missing because its GPU ran out of memory.
    """

    key: str
    metrics: dict[str, float]
    seconds: float
    tags: dict[str, str] = field(default_factory=dict)
    reserved: float = 0.0
    short: Shortage | None = None


@dataclass(frozen=True)
class RunFailed:
    """A run has ended with an error.

    key: the run's key.
    traceback: the error's traceback; of a UserError its text alone.
    reason: the type and text of the error; where it is empty, they are read from the end of the traceback.
    short: what it lacked of its GPU's memory, if that is the reason. If other runs shared the GPU it is tried again.
    damaged: the key of the run whose weights it should have started from and could not read, if that is the reason.
    That run is trained again, and then this one.
    """

    key: str
    traceback: str
    reason: str = ""
    short: Shortage | None = None
    damaged: str = ""


Event = EpochDone | Told | RunDone | RunFailed


def is_last(event: Event) -> bool:
    """Whether an event ends its job."""
    return isinstance(event, RunDone | RunFailed)


@dataclass(frozen=True)
class Failure:
    """A run that failed.

    spec: the run.
    reason: why it failed, in one line.
    log: the file of what its worker printed; None if there is none, as of a run that was trained to its end.
    """

    spec: "RunSpec"
    reason: str
    log: Path | None

    @property
    def told(self) -> str:
        """Why it failed, and where to read more."""
        reason = self.reason.removesuffix(".")
        return reason if self.log is None else f"{reason}; log: {self.log}"


@dataclass
class Outcome:
    """How an execution ended.

    finished: the runs that were trained, in the order in which they ended.
    failed: the runs that failed, in the order in which they ended.
    """

    finished: list["RunSpec"] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)


class Observer(Protocol):
    """Whoever is informed of an execution while it goes on.

    `on_plan` comes once with the number of runs and how many of them are finished already; `on_start`, `on_epoch` and
    `on_end` come for every run that is trained. `status` is finished, failed or killed. `on_retry` comes for a run that
    was started, has to wait, and will be started again; `on_note` brings what a user should know of a run.
    """

    def on_plan(self, total: int, done: int) -> None: ...
    def on_start(self, spec: "RunSpec") -> None: ...
    def on_epoch(self, spec: "RunSpec", event: EpochDone) -> None: ...
    def on_retry(self, spec: "RunSpec", reason: str) -> None: ...
    def on_note(self, spec: "RunSpec", text: str) -> None: ...
    def on_end(self, spec: "RunSpec", status: str) -> None: ...


class Silent:
    """An observer that shows nothing."""

    def on_plan(self, total: int, done: int) -> None:
        pass

    def on_start(self, spec: "RunSpec") -> None:
        pass

    def on_epoch(self, spec: "RunSpec", event: EpochDone) -> None:
        pass

    def on_retry(self, spec: "RunSpec", reason: str) -> None:
        pass

    def on_note(self, spec: "RunSpec", text: str) -> None:
        pass

    def on_end(self, spec: "RunSpec", status: str) -> None:
        pass
