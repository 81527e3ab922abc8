"""Join records, write and read archives of runs, and hide runs."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TypeVar

import typer

from mcr_bench.bench.commands.output import print_json, progress, say
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.exchange.archive import require_written, write_archive
from mcr_bench.bench.exchange.hiding import bring_back, hidden, hide, to_hide
from mcr_bench.bench.exchange.joining import Joined, join
from mcr_bench.bench.exchange.opened import opened
from mcr_bench.bench.exchange.origins import OfRecord, home_at, movable
from mcr_bench.bench.exchange.selection import Selection
from mcr_bench.bench.exchange.target import Target
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.report.fitted import grid_text
from mcr_bench.bench.runs.words import counted
from mcr_bench.bench.settings.arguments import parse_names, parse_seeds

T = TypeVar("T")
MOST_LINES = 10  # lines of one kind


def selection(
    keys: Sequence[str] | None, method: str | None, dataset: str | None, seeds: str | None, status: str | None = None
) -> Selection:
    """The selection that options mean."""
    return Selection(
        keys=keys or (),
        methods=() if method is None else parse_names("--method", method),
        datasets=() if dataset is None else parse_names("--dataset", dataset),
        seeds=() if seeds is None else parse_seeds(seeds),
        statuses=() if status is None else parse_names("--status", status),
    )


def merge(homes: Sequence[Path], record: Record, as_json: bool) -> None:
    """Join the homes into a record, one after another, and say what came of it."""
    with ExitStack() as stack:
        origins = [stack.enter_context(home_at(home, record.turns.patience)) for home in homes]
        target = Target(record)
        for origin in origins:
            if target.file is not None and target.file.exists() and origin.file.samefile(target.file):
                raise UserError(f"'{origin.name}' is the home of this record: it cannot be joined into itself.")
        _one_by_one(origins, lambda origin: join(origin, target, progress(origin.name)), as_json)


def import_(files: Sequence[Path], most_gib: float, record: Callable[[], Record], as_json: bool) -> None:
    """Check each archive and join it into the record, one after another, and say what came of it."""
    _one_by_one(files, lambda file: _import(file, most_gib, record()), as_json)


def _import(file: Path, most_gib: float, record: Record) -> Joined:
    with opened(file, most_gib) as archive:
        return join(archive, Target(record), progress(archive.name))


def _one_by_one(items: Sequence[T], join_one: Callable[[T], Joined], as_json: bool) -> None:
    """Join one after another, and say what came of it; also what came of the first ones if one ends in an error."""
    joined = list[Joined]()
    try:
        for one in items:
            joined.append(join_one(one))
    except BaseException:
        with suppress(typer.Exit):
            _tell(joined, as_json and bool(joined))
        raise
    _tell(joined, as_json)


def export(file: Path, record: Record, chosen: Selection) -> str:
    """Write the finished runs of a selection to an archive; returns what to say."""
    origin = OfRecord(record)
    runs, unfinished, why = movable(chosen.of(origin.runs()))
    if not runs:
        raise UserError(f"no finished run to export ({unfinished} unfinished). `mcr-bench results` lists the runs.")
    count, left_out, incomplete = write_archive(file, origin, runs)
    _lines([f"incomplete: {line}" for line in incomplete])
    _lines([f"left out: {line}" for line in [*why, *left_out]])
    require_written(file, count, len(runs))
    text = f"{counted(count)} written to {file} ({file.stat().st_size / 2**20:.1f} MiB)."
    if why or left_out:
        say(text)
        raise typer.Exit(1)
    return f"{text} {unfinished} unfinished left out." if unfinished else text


def forget(record: Record, chosen: Selection, undo: bool, yes: bool) -> None:
    """Hide the runs of a selection, or bring them back, after a question."""
    target = Target(record)
    meant = hidden(target, chosen) if undo else to_hide(target, chosen)
    if meant.training:
        say(f"left out: {counted(len(meant.training))} that a command trains now.", err=True)
    if not meant.runs:
        return say("No hidden run is meant." if undo else "No run is meant.")
    say(grid_text(meant.rows))
    if meant.needing:
        say(f"Finished runs that stay and start from these: {len(meant.needing)}.")
        _lines([f"  {run.tags.get('label')} on {run.tags.get('dataset')}, {run.tags['key']}" for run in meant.needing])
    count = counted(len(meant.runs))
    if not yes and not _agreed(f"Bring back {count}?" if undo else f"Hide {count}?"):
        say("Nothing was changed.")
        raise typer.Exit(1)
    (bring_back if undo else hide)(target, meant.runs)
    say(f"{count} brought back." if undo else f"{count} hidden. The same command with --undo brings them back.")


def _agreed(question: str) -> bool:
    try:
        return typer.confirm(question)
    except typer.Abort:  # no terminal, or no answer
        say("")
        return False


def _tell(joined: Sequence[Joined], as_json: bool) -> None:
    """Print what came of it; exit code 1 if a finished run could not be joined."""
    for one in joined:
        _lines([f"incomplete: {line}" for line in one.incomplete])
        _lines([f"differs: {line}" for line in one.differing])
        _lines([f"left out: {line}" for line in one.left_out])
        if not as_json:
            say(_summary(one))
    if as_json:
        print_json([vars(one) for one in joined])
    if any(one.left_out for one in joined):
        raise typer.Exit(1)


def _summary(one: Joined) -> str:
    parts = [f"{counted(one.added)} added", f"{one.present} finished here already"]
    more = {
        "asked for under other presets there": one.asked,
        "without a file": len(one.incomplete),
        "with other results there": len(one.differing),
        "unfinished there": one.unfinished,
        "left out": len(one.left_out),
    }
    return (
        f"'{one.origin}': " + ", ".join([*parts, *(f"{count} {what}" for what, count in more.items() if count)]) + "."
    )


def _lines(lines: Sequence[str]) -> None:
    """Print lines on stderr, at most ten."""
    for line in lines[:MOST_LINES]:
        say(line, err=True)
    if len(lines) > MOST_LINES:
        say(f"... and {len(lines) - MOST_LINES} more", err=True)
