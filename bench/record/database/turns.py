"""Calls that write to the file of a local record take turns with those of other programs."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ParamSpec, TypeVar

from mcr_bench.bench.record.database.access import require_file, require_free
from mcr_bench.bench.record.database.broken import broken_told
from mcr_bench.bench.record.database.patience import Patience, PatientLock
from mcr_bench.bench.record.database.snapshot import is_busy, locked

T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True)
class Turns:
    """How a command takes turns with others at a store.

    file: the SQLite file that the store is; None for a server, which sees to that by itself.
    patience: how the command waits for its turn.
    """

    file: Path | None = None
    patience: Patience = field(default_factory=Patience)

    @cached_property
    def lock(self) -> AbstractContextManager[None]:
        """What a command holds while it writes. UserError where another one holds it for too long."""
        return nullcontext() if self.file is None else PatientLock(self.file, self.patience)

    def write(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `call` returns, made as the only writer, and made again while other programs lock the database.

        UserError where the file is missing, or locked for too long; Unavailable where it is broken.
        """
        file = self.file
        if file is None:
            return call(*args, **kwargs)

        def alone() -> T:
            with self.lock:
                require_free(file)
                return call(*args, **kwargs)

        require_file(file)
        with broken_told(file):
            return self.patience.wait(alone, is_busy, locked(file))
