"""Training on another machine: only by the same program, and with what that machine is in the tags of the run."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.core.behaviour import behaviour_digest
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.record.provenance import provenance
from mcr_bench.bench.runs.events import Event, Job, RunDone
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.training.loop import fit_run


def fit_checked(job: Job, emit: Callable[[Event], None]) -> None:
    """As `fit_run`; UserError if this machine has another code of the method than the machine that planned the run."""
    require_same_method(job.spec)
    fit_run(job, partial(_send, job.device, emit))


def require_same_method(spec: RunSpec) -> None:
    """UserError if the method behaves otherwise on this machine, as its results would stand under a wrong key."""
    if behaviour_digest(registry.method(spec.source)) != spec.method_digest:
        raise UserError(
            f"this node has another version of the method '{spec.source}' than the machine of the command. "
            "Install the same mcr-bench, and copy the same files, on every node."
        )


def _send(device: str, emit: Callable[[Event], None], event: Event) -> None:
    emit(replace(event, tags=provenance(device) | event.tags) if isinstance(event, RunDone) else event)
