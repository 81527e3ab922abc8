"""A connection to a Ray cluster, and its nodes."""

import importlib
import os
import socket
from collections.abc import Mapping
from typing import Any

from mcr_bench.bench.executors.cluster.share import Node

CONNECT_SECONDS = 5.0


def connected(address: str | None) -> Any:
    """The module `ray`, connected to this cluster; without an address, and without RAY_ADDRESS, to one of its own.

    OSError if nobody listens at the address, or what Ray raises.
    """
    ray: Any = importlib.import_module("ray")
    place = address or os.environ.get("RAY_ADDRESS")
    own: dict[str, object] = {} if place else {"include_dashboard": False}
    require_listening(place or "")
    ray.init(place, log_to_driver=False, logging_level="ERROR", **own)
    return ray


def require_listening(address: str) -> None:
    """OSError, after seconds, if nobody listens at HOST:PORT; Ray itself would try for half a minute."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


def nodes_of(ray: Any) -> dict[str, Node]:
    """The nodes of the cluster that are alive, by id."""
    return {node["NodeID"]: _node(node) for node in ray.nodes() if node["Alive"]}


def _node(told: Mapping[str, Any]) -> Node:
    has = told["Resources"]
    return Node(told["NodeManagerHostname"], has.get("CPU", 0.0), int(has.get("GPU", 0)))
