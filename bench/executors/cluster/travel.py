"""The files of a run on a node that does not see the home of the record: they travel there and back."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from mcr_bench.bench.runs.events import Job

LONGEST_LOG = 2**16  # bytes of a run's log that travel home
SCRATCH = "mcr-bench-run-"


def moved(job: Job, folder: Path, weights: Mapping[str, bytes]) -> Job:
    """The job with all of its files in `folder`, where the best weights that it starts from, by key, are now."""
    placed = {key: folder / f"{key}.pt" for key in weights}
    for key, content in weights.items():
        placed[key].write_bytes(content)
    return replace(job, folder=folder / "run", weights=placed, weights_out=folder / "best.pt")


def brought_home(job: Job, here: Job) -> dict[Path, bytes]:
    """Path at home -> content of the files of a job, which are those of `here`, as far as they were written."""
    files = {job.predictions: here.predictions, job.log: here.log}
    if job.weights_out.parent != job.folder:  # others may start from them
        files[job.weights_out] = here.weights_out
    contents = {}
    for place, path in files.items():
        with suppress(OSError):
            contents[place] = path.read_bytes()[-LONGEST_LOG:] if place == job.log else path.read_bytes()
    return contents


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder on this machine for one run; those of processes that were killed are removed first."""
    own = f"{SCRATCH}{socket.gethostname()}-"
    for left in Path(tempfile.gettempdir()).glob(f"{own}*"):
        pid = left.name.removeprefix(own).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{own}{os.getpid()}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
