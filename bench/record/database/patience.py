"""Waiting for another program: a line says so soon, and the waiting ends after a stated time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from filelock import FileLock, Timeout

from mcr_bench.bench.errors import UserError

T = TypeVar("T")
TOLD_AFTER, AT_MOST, PAUSE = 3.0, 60.0, 0.1  # seconds


@dataclass(frozen=True)
class Patience:
    """How a command waits for what another program holds.

    note: takes the line that says for what it waits.
    at_most: seconds after which it gives up.
    """

    note: Callable[[str], object] = lambda _: None
    at_most: float = AT_MOST
    told_after: float = TOLD_AFTER

    def wait(self, call: Callable[[], T], busy: Callable[[Exception], bool], what: str) -> T:
        """What `call` returns, as soon as it raises no error that is `busy`; UserError after `at_most` seconds.

        what: what another program holds, as in "the record at 'results/mlflow.db' is locked by another program".
        """
        began, told = time.monotonic(), False
        while True:
            try:
                return call()
            except Exception as error:
                waited = time.monotonic() - began
                if not busy(error):
                    raise
                if waited > self.at_most:
                    raise UserError(
                        f"{what}, and has been for {self.at_most:g} seconds. Try again when that program has ended; "
                        "`fuser` with the path of the file names it."
                    ) from error
            if waited > self.told_after and not told:
                told = True
                self.note(f"{what}: waiting, at most {self.at_most:g} seconds")
            time.sleep(PAUSE)


class PatientLock:
    """The lock of a file, `FILE.lock` beside it, which the commands that write to the file hold in turn.

    UserError where another command holds it for longer than `patience` allows. It may be taken again by its holder.
    """

    def __init__(self, file: Path, patience: Patience) -> None:
        self._lock, self._patience = FileLock(f"{file}.lock"), patience
        self._what = f"the record at '{file}' is being written by another command"

    def __enter__(self) -> None:
        self._patience.wait(lambda: self._lock.acquire(timeout=0.25), _is_held, self._what)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


def _is_held(error: Exception) -> bool:
    return isinstance(error, Timeout)
