"""The shared part of the `data` commands: the dataset with its settings, and the progress of its preparation."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.making import make_dataset
from mcr_bench.bench.catalog.presets import preset_of
from mcr_bench.bench.catalog.resolve import layered, resolve_dataset
from mcr_bench.bench.commands.console import SafeConsole
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.executors.pool import default_jobs
from mcr_bench.bench.settings.arguments import parse_settings
from mcr_bench.bench.settings.declaration import declared

if TYPE_CHECKING:
    from mcr_bench.datasets.base import Dataset

LINE_SECONDS = 20.0  # between two lines of progress in a log or a pipe
SMOOTHING_SECONDS = 120.0  # over which the speed is averaged, as clips differ in length


def dataset_of(name: str, data_root: Path, preset: str | None, settings: Sequence[str]) -> "Dataset":
    """The dataset with the settings that `run` would give it; UserError for an unknown setting, or several values."""
    cls = registry.dataset(name)
    chosen = _single(parse_settings(settings))
    for key in chosen:
        if key.removeprefix("dataset.") not in declared(cls) or not key.startswith("dataset."):
            raise unknown(f"setting of the data of {cls.name}", key, (f"dataset.{k}" for k in declared(cls)))
    values = layered(preset_of(cls, preset, name).values, chosen)
    return make_dataset(name, data_root, resolve_dataset(values, cls))


def _single(settings: Mapping[str, list[str]]) -> dict[str, str]:
    for key, values in settings.items():
        if len(values) > 1:
            raise UserError(
                f"--set {key}={','.join(values)}: data is prepared with one value at a time. Give one value, and "
                "repeat the command for the others."
            )
    return {key: values[0] for key, values in settings.items()}


def prepare(data: "Dataset", source: Path, splits: Sequence[Path], jobs: int | None) -> str:
    """Prepare a dataset, and show the progress on stderr; returns in words what was done."""
    from mcr_bench.datasets.base import Preparation

    for path in splits:
        if not path.is_file():
            raise UserError(f"--splits '{path}' is not a file. Give the file of a split list.")
    console = SafeConsole(stderr=True)
    with progress(console) as shown:
        tell = partial(console.print, highlight=False)
        return data.prepare(Preparation(source, tuple(splits), jobs or default_jobs("cpu"), shown, tell))


def use_lists_alone(data: "Dataset", lists: Path, content: bool) -> None:
    """Let a dataset consist of the clips in split lists; UserError for a missing folder, or if content is wanted."""
    if not lists.is_dir():
        raise UserError(f"--lists '{lists}' is not a folder. Give the folder of the split lists.")
    if content:
        raise UserError("--lists reads no sample, and --content reads them all. Leave one of them out.")
    data.use_lists_alone(lists)


@contextmanager
def progress(console: Console) -> "Iterator[Bar | Lines]":
    """Inside the block, what `Preparation.progress` calls: a bar with the time left, or lines outside of a terminal."""
    if not console.is_terminal:
        yield Lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, speed_estimate_period=SMOOTHING_SECONDS, transient=True) as shown:
        yield Bar(shown)


class Bar:
    """A bar that begins where an earlier preparation stopped, so that its clips do not count for the speed."""

    def __init__(self, shown: Progress) -> None:
        self.shown = shown
        self.task: TaskID | None = None

    def __call__(self, done: int, total: int) -> None:
        if self.task is None:
            self.task = self.shown.add_task("clips", total=total, completed=done)
        self.shown.update(self.task, completed=done, total=total)


class Lines:
    """Prints the first count, the last one, and one every `LINE_SECONDS` between, with the time left."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.last: tuple[float, int] | None = None

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self.last is not None and now - self.last[0] < LINE_SECONDS and done < total:
            return
        left = "" if self.last is None else _left(now - self.last[0], done - self.last[1], total - done)
        self.last = (now, done)
        self.console.print(f"{done:,} of {total:,} clips{left}", highlight=False)


def _left(seconds: float, clips: int, rest: int) -> str:
    """The time left, from the speed since the last line; clips of an earlier preparation do not count."""
    if clips <= 0 or rest == 0:
        return ""
    left = seconds / clips * rest
    return f", {left / 60:.0f} min left" if left >= 90 else f", {left:.0f} s left"
