"""Join the runs of another record, or of an archive, into the record of this machine.

A key that is finished here stays as it is; nothing is overwritten or deleted. Whoever is interrupted gives the same
command again: what is here already is passed over.
"""

import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from filelock import Timeout

from mcr_bench.bench.core.files import PARTIAL, whole_file
from mcr_bench.bench.core.interrupts import check
from mcr_bench.bench.errors import one_line
from mcr_bench.bench.exchange.origins import Origin, movable, trained_as
from mcr_bench.bench.exchange.target import Target
from mcr_bench.bench.exchange.whole import MOVED_FROM, Malformed, WholeRun
from mcr_bench.bench.executors.places import clean, key_lock
from mcr_bench.bench.record.runs import StoredRun, by_key, united_presets
from mcr_bench.bench.record.tags import NUMBERS, PRESETS

RESULTS = ("test/", "selected_val/")  # metrics of which two runs of one key must agree


@dataclass
class Joined:
    """What came of joining one origin.

    origin: how messages call it.
    added: the runs that are new here.
    present: how many of its runs are finished here already.
    asked: how many of these were also asked for under other presets there.
    unfinished: how many of its keys have no finished run.
    incomplete: a line for each run that was added without a file that is missing there, or without its weights.
    differing: a line for each run whose results are not those that are here.
    left_out: a line for each finished run that could not be joined.
    """

    origin: str
    added: int = 0
    present: int = 0
    asked: int = 0
    unfinished: int = 0
    incomplete: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def join(origin: Origin, target: Target, progress: Callable[[int, int], object] = lambda *_: None) -> Joined:
    """Add the finished runs of an origin that are not finished here. progress: takes how many of how many are done.

    UserError where the record cannot be read or written; what was added until then is kept.
    """
    runs, unfinished, left_out = movable(origin.runs())
    joined = Joined(origin.name, unfinished=unfinished, left_out=left_out)
    target.restore_experiments(sorted({run.tags["dataset"] for run in runs}))
    known = target.runs()
    here, begun = _newest(known), _begun(known)
    for number, run in enumerate(sorted(runs, key=lambda run: run.tags["key"])):
        check()
        progress(number, len(runs))
        key = run.tags["key"]
        if key not in here:
            _add(origin, run, begun.get(trained_as(run)), target, joined)
        else:
            _compare(run, here[key], target, joined)
    return joined


def _newest(runs: Iterable[StoredRun]) -> dict[str, StoredRun]:
    """Key -> its newest finished run."""
    return {group[0].tags["key"]: group[0] for group in by_key(runs) if group[0].finished and group[0].tags.get("key")}


def _begun(runs: Iterable[StoredRun]) -> dict[str, StoredRun]:
    """Name of a run where it was trained -> what a killed command has left of it here."""
    return {run.tags[MOVED_FROM]: run for run in runs if MOVED_FROM in run.tags and not run.tags.get("key")}


def _add(origin: Origin, run: StoredRun, begun: StoredRun | None, target: Target, joined: Joined) -> None:
    """Add a run, as the only command that works on its key here."""
    key, lock = run.tags["key"], key_lock(target.home, run.tags["key"])
    try:
        with lock.acquire(timeout=0):
            if _newest(target.runs(key)):
                joined.present += 1  # another command has just finished it
            elif read := _whole(origin, run, joined):
                lost = _copy_weights(origin.home, target.home, key)
                target.add(*read, begun)
                joined.added += 1
                joined.incomplete += [f"{_told(run)}: its weights cannot be read there ({why})." for why in lost]
                joined.incomplete += [f"{_told(run)}: its {name} is missing there." for name in read[0].missing]
                clean(target.home, lock)
    except Timeout:
        joined.left_out.append(f"{_told(run)}: it is being trained here. Give the same command again afterwards.")


def _whole(origin: Origin, run: StoredRun, joined: Joined) -> tuple[WholeRun, dict[str, bytes]] | None:
    """Everything of a run, and the contents of its files; None, and a line, where these cannot be read."""
    try:
        whole = origin.whole(run)
        return whole, {file.name: origin.content(run, file) for file in whole.files}
    except (OSError, Malformed) as error:
        joined.left_out.append(f"{_told(run)}: {one_line(str(error), 500)}.")
        return None


def _compare(run: StoredRun, mine: StoredRun, target: Target, joined: Joined) -> None:
    """Both have finished this key: the run here stays, and gets the presets under which the other was asked for."""
    joined.present += 1
    text = united_presets(mine, run)
    if text is not None:
        target.tag(mine.run_id, PRESETS, text)
        joined.asked += 1
    differ = [name for name in sorted(run.metrics) if name.startswith(RESULTS) and _differ(name, run, mine)]
    if differ:
        name = max(differ, key=lambda name: abs(run.metrics[name] - mine.metrics[name]))
        joined.differing.append(
            f"{_told(run)}: {name} is {mine.metrics[name]:.9g} here and {run.metrics[name]:.9g} there "
            f"({len(differ)} of its metrics differ). The run here is kept."
        )


def _differ(name: str, run: StoredRun, mine: StoredRun) -> bool:
    a, b = run.metrics[name], mine.metrics.get(name)
    return type(b) in NUMBERS and a != b and not (a != a and b != b)  # a text is named when it is read


def _told(run: StoredRun) -> str:
    tags = run.tags
    return f"{tags.get('label', 'a run')} on {tags.get('dataset', '?')}, seed {tags.get('seed', '?')} ({tags['key']})"


def _copy_weights(there: Path | None, here: Path, key: str) -> list[str]:
    """Copy the best weights of a run, which others may start from, unless there are some here.

    Returns why some could not be read.
    """
    try:
        for file in [] if there is None else _weights(there / "weights", key):
            copy = here / "weights" / file.name
            if not copy.exists() and file.is_file():
                with suppress(FileNotFoundError), file.open("rb") as source, whole_file(copy) as copied:
                    shutil.copyfileobj(source, copied)
    except PermissionError as error:
        if there is not None and error.filename is not None and Path(error.filename).is_relative_to(there):
            return [one_line(str(error), 500)]
        raise
    return []


def _weights(folder: Path, key: str) -> list[Path]:
    """The files of a run's weights; PermissionError where the folder may not be read, of which `glob` says nothing."""
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.name.startswith(f"{key}.") and file.suffix != PARTIAL)
