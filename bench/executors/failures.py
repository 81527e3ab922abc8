"""What a failed run reports; of errors of memory, disk and determinism, which a user can act on, the remedy."""

import sys
import traceback
from contextlib import suppress

from mcr_bench.bench.core.faults.damaged import Damaged
from mcr_bench.bench.core.faults.full_disk import full_disk
from mcr_bench.bench.core.user_files import late_import
from mcr_bench.bench.errors import UserError, in_words, one_line, within_bounds
from mcr_bench.bench.printable import masked
from mcr_bench.bench.runs.events import Job, RunFailed, Shortage

LONGEST = 2000  # characters of a reason


def failure_of(job: Job, error: BaseException) -> RunFailed:
    """The last event of a job that ended with `error`, in plain texts of bounded length; it never raises."""
    key = job.spec.key
    if told := full_disk(error):
        return RunFailed(key, traceback_of(error), told)
    if isinstance(error, Damaged):
        return RunFailed(key, traceback_of(error), one_line(masked(str(error)), LONGEST), damaged=error.key)
    if lacking := _lacking(job, error):
        reason, lacked = lacking
        return RunFailed(key, traceback_of(error), reason, lacked)
    if isinstance(error, UserError):  # its words say all
        return RunFailed(key, within_bounds(masked(in_words(error))))
    return RunFailed(key, traceback_of(error), one_line(masked(in_words(error) + late_import(error)), LONGEST))


def traceback_of(error: BaseException) -> str:
    """The traceback of an error; its words alone where it cannot be formatted, as the code of its class runs then."""
    try:
        return within_bounds(masked("".join(traceback.format_exception(error))))
    except BaseException:
        return within_bounds(masked(in_words(error)))


def _lacking(job: Job, error: BaseException) -> tuple[str, Shortage | None] | None:
    """As `_told`; None too where the texts of the error cannot be read."""
    if "torch" not in sys.modules:
        return None
    with suppress(Exception):
        return _told(job, error)
    return None


def _told(job: Job, error: BaseException) -> tuple[str, Shortage | None] | None:
    """The sentence for an error that has one, and what the run lacked of its GPU's memory."""
    from mcr_bench.bench.core.faults.of_gpus import is_not_deterministic, is_out_of_memory
    from mcr_bench.bench.core.memory import NoRoom

    if isinstance(error, NoRoom):
        return f"{job.device} has too little free memory for it: {error}", Shortage.ROOM
    if job.device != "cpu" and is_out_of_memory(error):
        return _out_of_memory(job), Shortage.MEMORY
    if job.deterministic and is_not_deterministic(error):
        return _not_deterministic(job, error), None
    return None


def _out_of_memory(job: Job) -> str:
    others = ", even without other runs on it" if job.alone else ""
    return (
        f"out of memory: {job.device} has too little memory for this run{others}. Use a smaller batch "
        "(--set batch_size=N), --set precision=bf16, or --runs-per-gpu 1."
    )


def _not_deterministic(job: Job, error: BaseException) -> str:
    what = in_words(error).partition(": ")[2].partition(", but you set")[0]
    return f"--deterministic: {what} (on {job.device}). Leave out --deterministic, or do without this operation."
