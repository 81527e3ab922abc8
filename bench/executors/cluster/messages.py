"""What nodes, and the process that talks to Ray, tell the command."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mcr_bench.bench.executors.cluster.share import Node, Share
from mcr_bench.bench.runs.events import Event


@dataclass(frozen=True)
class Started:
    """A node has begun with a run. shared: whether it sees the home of the record, and so the run's checkpoint."""

    host: str
    shared: bool


@dataclass(frozen=True)
class Ended:
    """The last event of a run. files: path at home -> content of the files of a node that does not see the home."""

    event: Event
    files: Mapping[Path, bytes]


@dataclass(frozen=True)
class Lost:
    """A run is no longer trained, and not through its own error. node: whether its whole node is gone."""

    reason: str
    node: bool = False


@dataclass(frozen=True)
class Refused:
    """There is no cluster to work with. reason: why, and the remedy."""

    reason: str


@dataclass(frozen=True)
class Room:
    """The cluster as it is now: its nodes by id, and what one run takes there."""

    nodes: Mapping[str, Node]
    share: Share

    @property
    def slots(self) -> int:
        """How many runs it has room for."""
        return sum(self.share.slots(node) for node in self.nodes.values())


# From a node about a run.
Report = Started | Ended | Lost | Event
# From the process that talks to Ray: about the cluster, or about the run of the order with this number.
Message = Refused | Room | tuple[int, Started | Lost | Event]
