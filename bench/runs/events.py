"""What a worker gets (Job), what it sends back (events), and who is informed of it (Observer)."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mcr_bench.bench.runs.spec import RunSpec


@dataclass(frozen=True)
class Job:
    """One run as a worker gets it.

    spec: the run to train.
    device: where to train it: `cpu` or `cuda:N`.
    folder: the run's own folder, with its checkpoints, `predictions.parquet` and `log.txt`, until it is finished.
    weights: the key of a run that this one starts from -> the file of that run's best weights.
    weights_out: the file for this run's best weights.
    """

    spec: "RunSpec"
    device: str
    folder: Path
    weights: dict[str, Path]
    weights_out: Path

    @property
    def predictions(self) -> Path:
        """The file of the run's predictions."""
        return self.folder / "predictions.parquet"

    @property
    def log(self) -> Path:
        """The file of what the worker printed while it trained this run."""
        return self.folder / "log.txt"


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
class RunDone:
    """A run has been trained and tested.

    key: the run's key.
    metrics: its final values by name, such as `test/accuracy`.
    seconds: the time that its training took, without interruptions.
    tags: texts about the run for the record, such as the GPU's name.
    """

    key: str
    metrics: dict[str, float]
    seconds: float
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunFailed:
    """A run has ended with an error.

    key: the run's key.
    traceback: the error's traceback; of a UserError its text alone.
    reason: the type and text of the error; where it is empty, they are read from the end of the traceback.
    """

    key: str
    traceback: str
    reason: str = ""


Event = EpochDone | RunDone | RunFailed


@dataclass(frozen=True)
class Failure:
    """A run that failed.

    spec: the run.
    reason: why it failed, in one line.
    log: the file of what its worker printed.
    """

    spec: "RunSpec"
    reason: str
    log: Path


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
    `on_end` come for every run that is trained. `status` is finished, failed or killed.
    """

    def on_plan(self, total: int, done: int) -> None: ...
    def on_start(self, spec: "RunSpec") -> None: ...
    def on_epoch(self, spec: "RunSpec", event: EpochDone) -> None: ...
    def on_end(self, spec: "RunSpec", status: str) -> None: ...


class Silent:
    """An observer that shows nothing."""

    def on_plan(self, total: int, done: int) -> None:
        pass

    def on_start(self, spec: "RunSpec") -> None:
        pass

    def on_epoch(self, spec: "RunSpec", event: EpochDone) -> None:
        pass

    def on_end(self, spec: "RunSpec", status: str) -> None:
        pass
