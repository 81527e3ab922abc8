"""The conformance kit of each kind of plug-in, and which of them a target belongs to.

A kind joins by one line in `ROOMS`: the module whose `KIT` is its `Kit`. The module is imported when it is needed.
"""

import importlib
from typing import Any

from mcr_bench.bench.catalog.kind_of_file import Kind
from mcr_bench.bench.testing.card import Kit

ROOMS: dict[Kind, str] = {
    "method": "mcr_bench.bench.testing.methods.kit",
    "encoder": "mcr_bench.bench.testing.nets.encoders",
    "fusion": "mcr_bench.bench.testing.nets.heads",
    "dataset": "mcr_bench.bench.testing.data.datasets",
}


def kit_of(kind: Kind) -> Kit[Any]:  # what a kit is given depends on its kind
    """The kit of a kind."""
    kit: Kit[Any] = importlib.import_module(ROOMS[kind]).KIT
    return kit
