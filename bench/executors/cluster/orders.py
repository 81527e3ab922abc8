"""What is asked of the process that talks to Ray, and what it asks of a node."""

from dataclasses import dataclass
from pathlib import Path

from mcr_bench.bench.executors.cluster.share import Share
from mcr_bench.bench.runs.events import Job


@dataclass(frozen=True)
class Setting:
    """How a command wants its cluster used.

    address: the address of the cluster; None for that of RAY_ADDRESS, else a Ray of the command's own on this machine.
    home: the home folder of the record; a node that sees it works in it.
    entry: `module:function` that trains a job.
    share: what one run takes.
    folder: the working folder of the command.
    version: the version of this program.
    """

    address: str | None
    home: Path
    entry: str
    share: Share
    folder: Path
    version: str


@dataclass(frozen=True)
class Order:
    """A run to train; one that is tried again is a further order.

    number: the number of the order.
    job: the run.
    whole: whether it has a GPU to itself, because it ran out of memory while others shared it.
    """

    number: int
    job: Job
    whole: bool = False


@dataclass(frozen=True)
class Task:
    """What a node is given.

    job: the pickled job of the order, as its classes may lie where only `path` leads.
    key: the key of its run.
    entry, folder, version: those of the setting.
    path: where the command finds modules.
    home: the home folder of the record.
    token: the name of a file there, by which a node knows that it sees this folder.
    driver: the id of the node on which the command runs.
    """

    job: bytes
    key: str
    entry: str
    folder: Path
    version: str
    path: tuple[str, ...]
    home: Path
    token: str
    driver: str
