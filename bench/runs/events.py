"""What the parent gives a worker (Job), what comes back (events), and who may watch (Observer)."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mcr_bench.bench.runs.spec import RunSpec


@dataclass(frozen=True)
class Job:
    """One run as a worker gets it.

    folder: the run's own, kept until the run is finished; checkpoints, `predictions.parquet` and `log.txt` lie there.
    weights: key of a dependency -> file of its best weights. weights_out: where this run's best weights go.
    """

    spec: "RunSpec"
    device: str
    folder: Path
    weights: dict[str, Path]
    weights_out: Path

    @property
    def predictions(self) -> Path:
        return self.folder / "predictions.parquet"

    @property
    def log(self) -> Path:
        """What the worker printed while it had this run."""
        return self.folder / "log.txt"


@dataclass(frozen=True)
class EpochDone:
    """Epoch `epoch` (from 1) of at most `epochs` has ended at `when` (unix seconds)."""

    key: str
    epoch: int
    epochs: int
    metrics: dict[str, float]
    when: float


@dataclass(frozen=True)
class RunDone:
    """The run is trained and tested. `seconds`: training time over all resumptions; `tags`: device, versions."""

    key: str
    metrics: dict[str, float]
    seconds: float
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunFailed:
    """The run ended with an error. traceback: of a UserError, its words alone; reason: type and text of the error.

    Without a reason it is what the traceback ends with.
    """

    key: str
    traceback: str
    reason: str = ""


Event = EpochDone | RunDone | RunFailed


@dataclass(frozen=True)
class Failure:
    """A run that failed: why, in a line, and the file with what its worker printed."""

    spec: "RunSpec"
    reason: str
    log: Path


@dataclass
class Outcome:
    """How an execution ended, in the order in which runs ended."""

    finished: list["RunSpec"] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)


class Observer(Protocol):
    """Who watches an execution. `status` of on_end: finished | failed | killed."""

    def on_plan(self, total: int, done: int) -> None: ...
    def on_start(self, spec: "RunSpec") -> None: ...
    def on_epoch(self, spec: "RunSpec", event: EpochDone) -> None: ...
    def on_end(self, spec: "RunSpec", status: str) -> None: ...


class Silent:
    """An observer that says nothing."""

    def on_plan(self, total: int, done: int) -> None:
        pass

    def on_start(self, spec: "RunSpec") -> None:
        pass

    def on_epoch(self, spec: "RunSpec", event: EpochDone) -> None:
        pass

    def on_end(self, spec: "RunSpec", status: str) -> None:
        pass
