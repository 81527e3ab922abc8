"""What a failed run reports; of errors of memory and determinism, which a user can act on, the remedy."""

import sys
import traceback

from mcr_bench.bench.core.user_files import late_import
from mcr_bench.bench.errors import UserError, in_words
from mcr_bench.bench.runs.events import Job, RunFailed, Shortage


def failure_of(job: Job, error: BaseException) -> RunFailed:
    """The last event of a job that ended with `error`; call it where the error was caught."""
    key = job.spec.key
    if "torch" in sys.modules and (told := _told(job, error)):
        reason, lacked = told
        return RunFailed(key, traceback.format_exc(), reason, lacked)
    if isinstance(error, UserError):  # its words say all
        return RunFailed(key, in_words(error))
    return RunFailed(key, traceback.format_exc(), in_words(error) + late_import(error))


def _told(job: Job, error: BaseException) -> tuple[str, Shortage | None] | None:
    """The sentence for an error that has one, and what the run lacked of its GPU's memory."""
    from mcr_bench.bench.core.device import is_not_deterministic, is_out_of_memory
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
    what = str(error).partition(", but you set")[0]
    return f"--deterministic: {what} (on {job.device}). Leave out --deterministic, or do without this operation."
