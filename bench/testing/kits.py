"""The conformance kit of each kind of plug-in, and which of them a target belongs to.

A kind joins by one line in `ROOMS`: the module whose `KIT` is its `Kit`. The module is imported when it is needed.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcr_bench.bench.catalog.kind_of_file import Kind, kind_of_target
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.testing.card import DATA_ROOT, Failed, Kit, Opened, Property
from mcr_bench.bench.testing.process import ProcessState

ROOMS: dict[Kind, str] = {
    "method": "mcr_bench.bench.testing.methods.kit",
    "encoder": "mcr_bench.bench.testing.nets.encoders",
    "fusion": "mcr_bench.bench.testing.nets.heads",
    "dataset": "mcr_bench.bench.testing.data.datasets",
}


@dataclass(frozen=True)
class Target:
    """What a target names.

    kind: what it is.
    kit: the kit of this kind.
    opened: what the kit checks.
    changes: what its import has changed of functions and classes of others.
    """

    kind: Kind
    kit: Kit[Any]  # what a kit is given depends on its kind
    opened: Opened[Any]
    changes: tuple[str, ...]


def kit_of(kind: Kind) -> Kit[Any]:
    """The kit of a kind; UserError where there is none."""
    if kind not in ROOMS:
        raise UserError(f"a {kind} cannot be checked. What can be: {', '.join(ROOMS)}.")
    kit: Kit[Any] = importlib.import_module(ROOMS[kind]).KIT
    return kit


def opened(target: str, data_root: Path = DATA_ROOT) -> Target:
    """What a registered name, `FILE.py`, `FILE.py:CLASS` or `PACKAGE:CLASS` names; UserError for another text.

    data_root: the parent folder of prepared datasets.
    """
    state = ProcessState()
    kind, name = kind_of_target(target)
    kit = kit_of(kind)
    subject = kit.opened(name) if kit.opened_at is None else kit.opened_at(name, data_root)
    changes = state.changes_by(str(subject.file)) if subject.file else []
    state.undo()
    return Target(kind, kit, subject, tuple(changes))


def untouched_by_import(target: Target) -> None:
    """Importing the file replaces nothing of others."""
    if target.changes:
        raise Failed(f"importing it changes the process: {target.changes[0]}")


IMPORTED = Property(
    "import",
    "its file can be imported, and that changes nothing of others",
    "Code at the top of a file runs in every command that names it: define classes and functions there, no more.",
    untouched_by_import,
)
