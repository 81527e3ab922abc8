"""Write a submission: the archive of `export` with all that the chosen runs start from, checked before it stays."""

from collections.abc import Sequence
from pathlib import Path

from mcr_bench.bench.commands.output import print_json, say
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.exchange.archive import require_written, write_archive
from mcr_bench.bench.exchange.opened import opened
from mcr_bench.bench.exchange.origins import OfRecord, movable
from mcr_bench.bench.exchange.selection import Selection
from mcr_bench.bench.publish.said import Verified
from mcr_bench.bench.publish.verify import verified
from mcr_bench.bench.publish.verify_text import verified_data, verified_text
from mcr_bench.bench.record.runs import StoredRun
from mcr_bench.bench.record.tracking import Record


def write_submission(file: Path, record: Record, chosen: Selection, data_root: Path) -> tuple[Verified, bool]:
    """Write it and check it; what came of that, and whether every chosen run is in it.

    What is left out is said. The file does not stay if something in it is wrong. UserError where there is no run.
    """
    origin = OfRecord(record)
    every = origin.runs()
    asked, _, left_out = movable(chosen.of(every))
    known = {run.tags["key"]: run for run in movable(every)[0]}
    if not asked:
        raise UserError("no finished run to submit. `mcr-bench results` lists the runs.")
    needed = with_needs(asked, known)
    count, lost, incomplete = write_archive(file, origin, needed)
    for line in [
        *(f"left out: {line}" for line in [*left_out, *lost]),
        *(f"incomplete: {line}" for line in incomplete),
    ]:
        say(line, err=True)
    require_written(file, count, len(needed))
    try:
        with opened(file) as archive:
            made = verified(archive, data_root)
    except BaseException:
        file.unlink()
        raise
    if not made.holds:
        file.unlink()
        say(f"'{file}' was not written, as something in it is wrong.", err=True)
    return made, not lost and not left_out


def with_needs(asked: Sequence[StoredRun], known: dict[str, StoredRun]) -> list[StoredRun]:
    """Runs with all finished ones that they start from, each once. known: key -> finished run."""
    chosen, waiting = dict[str, StoredRun](), list(asked)
    while waiting:
        run = waiting.pop()
        if run.tags["key"] not in chosen:
            chosen[run.tags["key"]] = run
            waiting += [known[key] for key in run.tags.get("dependencies", "").split(",") if key in known]
    return list(chosen.values())


def print_verified(made: Verified, as_json: bool) -> None:
    """Print what came of checking a submission, as text or as JSON."""
    if as_json:
        print_json(verified_data(made))
    else:
        say(verified_text(made))
