"""What one run takes of a cluster: cores of a processor and a share of a GPU, and how many runs a node has room for."""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """What is kept for one run on the node that trains it.

    cpu: cores, of which the run computes with one.
    gpu: the share of one GPU; 0 for a run on the CPU, None for a GPU where the cluster has any and the CPU elsewhere.
    """

    cpu: float = 1.0
    gpu: float | None = None

    def on(self, nodes: Mapping[str, "Node"]) -> "Share":
        """This share where the cluster has these nodes: `gpu` is known."""
        if self.gpu is not None:
            return self
        return Share(self.cpu, 1.0 if any(node.gpus for node in nodes.values()) else 0.0)

    def slots(self, node: "Node") -> int:
        """How many runs the node has room for.

        >>> Share(cpu=2, gpu=0.5).slots(Node("a", cpus=16, gpus=2)), Share(gpu=0).slots(Node("b", cpus=4))
        (4, 4)
        """
        most = math.floor(node.cpus / self.cpu)
        return min(most, node.gpus * self.sharing) if self.gpu else most

    @property
    def sharing(self) -> int:
        """The most runs on one GPU."""
        return math.floor(1 / self.gpu) if self.gpu else 1

    @property
    def text(self) -> str:
        """The share as it is given on the command line."""
        return f"cpu={self.cpu:g}" + (f",gpu={self.gpu:g}" if self.gpu else "")


@dataclass(frozen=True)
class Node:
    """A machine of a cluster: its name, its cores and its GPUs."""

    host: str
    cpus: float = 0.0
    gpus: int = 0
