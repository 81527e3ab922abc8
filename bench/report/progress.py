"""Progress of an execution on stderr: bars on a terminal, one text in a notebook, plain lines elsewhere."""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from mcr_bench.bench.planning.estimate import in_words
from mcr_bench.bench.report.notebook import Replaced, in_notebook
from mcr_bench.bench.runs.events import EpochDone
from mcr_bench.bench.runs.overrides import named_label
from mcr_bench.bench.runs.words import counted

if TYPE_CHECKING:
    from mcr_bench.bench.runs.spec import RunSpec

BETWEEN = 0.5  # seconds between two texts in a notebook of epochs that were done
SMOOTHING_SECONDS = 600.0  # runs of different methods take turns; a shorter window makes the time left jump


def observer(console: Console) -> "Bars | Lines":
    """The observer for this console, or for the notebook that this is; use it as a context manager."""
    if in_notebook():
        return InCell(console)
    return Bars(console) if console.is_terminal else Lines(console)


def describe(spec: "RunSpec", event: EpochDone | None = None) -> str:
    """A run in one line, with what changes first, because narrow terminals cut the end."""
    reached = "" if event is None else _reached(spec, event)
    return f"{named_label(spec.label)} · seed {spec.seed}{reached} · {spec.dataset} fold {spec.fold}"


def waiting_again(spec: "RunSpec", reason: str) -> str:
    """That a run has to wait, in one line."""
    return f"waits: {describe(spec)} · {reason}"


def noted(spec: "RunSpec", text: str) -> str:
    """What a user should know of a run, in one line."""
    return f"note: {describe(spec)} · {text}"


def _reached(spec: "RunSpec", event: EpochDone) -> str:
    losses = [value for name, value in event.metrics.items() if name.startswith("train/loss/")]
    value = event.metrics.get(f"val/{spec.metric}")
    text = f" · epoch {event.epoch}/{event.epochs}" + (f" · loss {sum(losses):.4f}" if losses else "")
    return text + (f" · val {spec.metric} {value:.4f}" if value is not None else "")


class Lines:
    """Prints one line when a run has ended, with the time left, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self.console, self.total, self.before, self.ended = console, 0, 0, 0
        self.planned, self.began = time.monotonic(), dict[str, float]()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def on_plan(self, total: int, done: int) -> None:
        self.total, self.before, self.ended, self.planned = total, done, done, time.monotonic()
        runs = counted(total)
        self._print(f"{runs}, {done} finished before, {total - done} to train")

    def on_start(self, spec: "RunSpec") -> None:
        self.began[spec.key] = time.monotonic()

    def on_epoch(self, spec: "RunSpec", event: EpochDone) -> None:
        pass

    def on_retry(self, spec: "RunSpec", reason: str) -> None:
        self._print(waiting_again(spec, reason))

    def on_note(self, spec: "RunSpec", text: str) -> None:
        self._print(noted(spec, text))

    def on_end(self, spec: "RunSpec", status: str) -> None:
        self.ended += 1
        self.total = max(self.total, self.ended)  # a run whose weights were damaged is trained again
        began = self.began.get(spec.key)
        idle = "by another command" if status == "finished" else "not started"
        took = idle if began is None else f"{time.monotonic() - began:.1f} s"
        self._print(f"[{self.ended}/{self.total}] {status} {describe(spec)} · {took}{self._left()}")

    def _left(self) -> str:
        """The time until the end, in words, at the pace so far; '' at the end."""
        if self.ended == self.total:
            return ""
        hours = (time.monotonic() - self.planned) / 3600 * (self.total - self.ended) / (self.ended - self.before)
        return f" · about {in_words(hours)} left"

    def _print(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


class InCell(Lines):
    """Shows one text in a notebook, which is replaced: what ended last, what is trained now, and what went wrong."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.place, self.last, self.kept, self.running = Replaced(), "", list[str](), dict[str, str]()
        self.shown = 0.0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.running = {}
        if self.ended > self.before:
            took = in_words((time.monotonic() - self.planned) / 3600)
            self._print(f"{counted(self.ended)}, {self.before} finished before, the others ended in {took}")
        elif error is not None:
            self._print("stopped")

    def on_start(self, spec: "RunSpec") -> None:
        super().on_start(spec)
        self.running[spec.key] = describe(spec)
        self._show()

    def on_epoch(self, spec: "RunSpec", event: EpochDone) -> None:
        self.running[spec.key] = describe(spec, event)
        if time.monotonic() - self.shown > BETWEEN:
            self._show()

    def on_retry(self, spec: "RunSpec", reason: str) -> None:
        self.running.pop(spec.key, None)
        self._keep(waiting_again(spec, reason))

    def on_note(self, spec: "RunSpec", text: str) -> None:
        self._keep(noted(spec, text))

    def on_end(self, spec: "RunSpec", status: str) -> None:
        self.running.pop(spec.key, None)
        if status == "failed":
            self._keep(f"failed: {describe(spec)}")
        super().on_end(spec, status)

    def _keep(self, line: str) -> None:
        self.kept.append(line)
        self._show()

    def _print(self, line: str) -> None:
        self.last = line
        self._show()

    def _show(self) -> None:
        self.shown = time.monotonic()
        self.place.show("\n".join([*self.kept, self.last, *self.running.values()]))


class Bars:
    """Shows a bar for all runs with the time left, and a line for each running one, until the execution has ended."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
        )
        self.overall = Progress(*columns, console=console, speed_estimate_period=SMOOTHING_SECONDS)
        self.running = Progress(BarColumn(bar_width=6), TextColumn("{task.description}", markup=False), console=console)
        self.live = Live(Group(self.overall, self.running), console=console, refresh_per_second=4, transient=True)
        self.bar = self.overall.add_task("all runs", total=None, text="")
        self.bars: dict[str, TaskID] = {}
        self.shares: dict[str, float] = {}
        self.total, self.ended = 0, 0

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def on_plan(self, total: int, done: int) -> None:
        self.total, self.ended = total, done
        self._advance()

    def on_start(self, spec: "RunSpec") -> None:
        self.bars[spec.key] = self.running.add_task(describe(spec), total=1.0)

    def on_epoch(self, spec: "RunSpec", event: EpochDone) -> None:
        self.shares[spec.key] = event.epoch / max(1, event.epochs)
        if spec.key in self.bars:
            self.running.update(self.bars[spec.key], completed=self.shares[spec.key], description=describe(spec, event))
        self._advance()

    def on_retry(self, spec: "RunSpec", reason: str) -> None:
        self._forget(spec)
        self.live.console.print(waiting_again(spec, reason), markup=False, highlight=False)
        self._advance()

    def on_note(self, spec: "RunSpec", text: str) -> None:
        self.live.console.print(noted(spec, text), markup=False, highlight=False)

    def on_end(self, spec: "RunSpec", status: str) -> None:
        self.ended += 1
        self._forget(spec)
        if status == "failed":
            self.live.console.print(f"failed: {describe(spec)}", markup=False, highlight=False)
        self._advance()

    def _forget(self, spec: "RunSpec") -> None:
        """Remove the line of a run."""
        self.shares.pop(spec.key, None)
        if spec.key in self.bars:
            self.running.remove_task(self.bars.pop(spec.key))

    def _advance(self) -> None:
        """Update the bar. A running run counts by its share of epochs, so that the time left is known early."""
        completed = self.ended + sum(self.shares.values())
        text = f"{self.ended}/{self.total} runs"
        self.overall.update(self.bar, total=self.total, completed=completed, text=text)
