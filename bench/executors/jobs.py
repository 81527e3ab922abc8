"""The shared part of all executors: which run may be trained next, its lock, weights and record, and the clean-up.

    with Jobs(plan, record, observer) as jobs:
        while jobs.go_on():
            job = jobs.next("cpu")
            ...                       # have it trained somewhere
            jobs.take(job, event)     # every event of it, as it comes
    return jobs.outcome

Only the process that asks for jobs writes to the record; a lock per key keeps two commands from training one run.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from mcr_bench.bench.core.faults.damaged import set_aside
from mcr_bench.bench.core.faults.full_disk import full_disk
from mcr_bench.bench.core.interrupts import check, deferred
from mcr_bench.bench.errors import error_at_end, in_words, one_line
from mcr_bench.bench.executors.base import TrainingPlan
from mcr_bench.bench.executors.places import clean, key_lock, sweep, weights_file, work_folder
from mcr_bench.bench.executors.sharing import Sharing, most_on
from mcr_bench.bench.executors.watches import Watches
from mcr_bench.bench.record.provenance import provenance
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.record.writing import Refused
from mcr_bench.bench.runs.events import (
    EpochDone,
    Event,
    Failure,
    Job,
    Observer,
    Outcome,
    RunDone,
    RunFailed,
    Shortage,
    Told,
)
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.settings.arguments import duration_text

LATE = (
    "it took longer than --timeout {limit}, and its process was ended. The same command continues it from its last "
    "checkpoint; its log tells what it did"
)
SILENT = (
    "nothing was heard of it for {minutes:g} minutes: it hangs, or its epochs take longer. Its output is in {log}; "
    "--timeout 2h, for instance, ends runs on this machine that take longer"
)
UNTRAINED = "the executor ended without training it"
PUT_OFF = {
    Shortage.ROOM: "{place} has too little free memory for a further run now: it starts when a run there has ended",
    Shortage.MEMORY: "{place} ran out of memory with several runs on it: it is tried again without others",
}


class Jobs:
    """The runs of a plan until they are recorded; a run comes after those that it starts from.

    Runs that others start from are trained again if their weights are missing. However the `with` block ends, locks are
    released, and runs that were being trained are marked as killed: the next command continues them.
    """

    def __init__(self, plan: TrainingPlan, record: Record, observer: Observer) -> None:
        self.outcome = Outcome()
        self._plan, self._record, self._observer = plan, record, observer
        self._waiting = with_missing_weights(plan.runs, record.home)
        self._training: dict[str, FileLock] = {}
        self._sharing, self._watches = Sharing(), Watches(plan.timeout)
        self._jobs: dict[str, Job] = {}
        self._renewed: set[tuple[str, str]] = set()  # a run, and the one that was trained again for it
        self._unfinished = {spec.key: spec for spec in self._waiting}
        self._needed = {dependency.key for spec in self._waiting for dependency in spec.dependencies}
        self._count = len(self._waiting)
        self._untrained = UNTRAINED

    def __len__(self) -> int:
        """The number of runs to train."""
        return self._count

    def __enter__(self) -> "Jobs":
        if self._waiting:
            self._record.prepare()
        sweep(self._record, set(self._unfinished))
        total = max(len(self._plan.runs) + self._plan.done, self._count)
        self._observer.on_plan(total, total - self._count)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with deferred():
            for key in list(self._training):
                self._stop(self._unfinished[key], failed=error is None)
            if error is None:
                for spec in self._waiting:
                    self._note_failure(spec, self._untrained, spec)
                    self._observer.on_end(spec, "failed")

    def go_on(self) -> bool:
        """Whether a run waits or is being trained; call it once per turn of the loop.

        Runs that start from a failed one fail here, and the record is written when it is due. KeyboardInterrupt if
        Ctrl-C was pressed and a library has swallowed it.
        """
        check()
        for key, seconds in self._watches.silent():
            log = work_folder(self._record.home, self._unfinished[key]) / "log.txt"
            text = SILENT.format(minutes=round(seconds / 60, 1), log=log)
            self._observer.on_note(self._unfinished[key], text)
        self._record.flush_if_due()
        self._fail_blocked()
        return bool(self._waiting or self._training)

    def to_stop(self) -> list[tuple[Job, str]]:
        """The jobs that shall not go on, with the reason: end their process and `fail` them.

        They have taken longer than the plan allows, or the record does not take their runs any more.
        """
        late = LATE.format(limit=duration_text(self._plan.timeout or 0))
        reasons = dict.fromkeys(self._watches.overdue(), late) | self._record.refused()
        return [(self._jobs[key], reason) for key, reason in reasons.items() if key in self._training]

    @property
    def waiting(self) -> bool:
        """Whether a run waits to be given to a worker."""
        return bool(self._waiting)

    def next(self, device: str, place: str | None = None) -> Job | None:
        """A job to train on `device` (cpu or cuda:N); its lock is held until its last event is taken.

        None if every waiting run starts from another one, is being trained by another command, or lacks memory of this
        device; try again later, and another device now. place: a name of the device among those of several machines,
        as runs that are on the same one share its memory; without it, `device`.
        """
        place = device if place is None else place
        while claim := self._claim(place):
            spec, lock = claim
            self._waiting.remove(spec)
            self._training[spec.key] = lock
            again = self._plan.force(spec) or (
                spec.key in self._needed and not weights_file(self._record.home, spec).exists()
            )
            try:
                started = self._record.start(spec, again)
            except Refused as error:
                self._fail(spec, "", str(error))
                continue
            if started is not None:
                self._observer.on_start(spec)
                self._watches.begin(spec.key)
                self._jobs[spec.key] = self._job(spec, device, place)
                return self._jobs[spec.key]
            self._end(spec, "finished")  # another command has finished it meanwhile
        return None

    def take(self, job: Job, event: Event) -> None:
        """Record an event of a job. RunDone or RunFailed ends the job; later events are ignored.

        A run that lacked memory of its GPU while others shared it waits again, and `next` gives it once more.
        """
        if job.spec.key not in self._training:
            return
        self._watches.hear(job.spec.key)
        if isinstance(event, EpochDone):
            self._record.log_epoch(job.spec, event)
            self._observer.on_epoch(job.spec, event)
        elif isinstance(event, Told):
            self._observer.on_note(job.spec, event.text)
        elif event.short is not None and self._sharing.had_company(job.spec.key):
            self._put_off(job, event.short)
        elif isinstance(event, RunDone):
            self._finish(job, event)
        elif event.damaged and self._renew(job, event):
            pass
        else:
            self._fail(job.spec, event.traceback, event.reason)

    def fail(self, job: Job, reason: str) -> None:
        """Record that a job cannot be trained, as when its process died; ignored if the job has ended."""
        self.take(job, RunFailed(job.spec.key, reason))

    def retry(self, job: Job, reason: str) -> None:
        """Let a job wait again whose worker is lost; `next` gives it once more. reason: why, in words for the user."""
        if job.spec.key in self._training:
            self._wait_again(job.spec)
            self._observer.on_retry(job.spec, reason)

    def give_up(self, reason: str) -> None:
        """Give a reason for the runs that the executor is about to leave untrained."""
        self._untrained = reason

    def _claim(self, place: str) -> tuple[RunSpec, FileLock] | None:
        """The first run that can be trained here and now, with its lock: nothing that it waits for is left."""
        for spec in self._waiting:
            free = self._sharing.takes(place, spec.key)
            if free and not any(dependency.key in self._unfinished for dependency in spec.dependencies):
                lock = key_lock(self._record.home, spec.key)
                with suppress(Timeout):
                    lock.acquire(timeout=0)
                    return spec, lock
        return None

    def _job(self, spec: RunSpec, device: str, place: str) -> Job:
        home = self._record.home
        weights = {dependency.key: weights_file(home, dependency) for dependency in spec.dependencies}
        kept = spec.key in self._needed or self._plan.keep_weights(spec)
        weights_out = weights_file(home, spec) if kept else work_folder(home, spec) / "weights.pt"
        return Job(
            spec,
            device,
            work_folder(home, spec),
            weights,
            weights_out,
            deterministic=self._plan.deterministic,
            room=self._sharing.begin(spec.key, place),
            alone=self._sharing.is_alone(spec.key),
            sharing=1 if self._sharing.is_alone(spec.key) else self._most_on(device),
        )

    def _most_on(self, device: str) -> int:
        return most_on(device, self._plan.device, self._plan.jobs, self._plan.runs_per_gpu)

    def _finish(self, job: Job, event: RunDone) -> None:
        metrics = {"cost/seconds": event.seconds} | event.metrics
        try:
            self._record.finish(job.spec, metrics, [job.predictions], provenance(job.device) | event.tags)
        except Exception as error:
            why = full_disk(error) or in_words(error)
            self._fail(job.spec, f"trained, but it could not be recorded: {why}")
            return
        self._end(job.spec, "finished", event.reserved)

    def _put_off(self, job: Job, lacked: Shortage) -> None:
        """Let a run wait until the memory of its GPU may suffice."""
        self._sharing.put_off(job.spec.key, lacked)
        self._wait_again(job.spec)
        self._observer.on_retry(job.spec, PUT_OFF[lacked].format(place=job.device))

    def _renew(self, job: Job, event: RunFailed) -> bool:
        """Train the run again whose weights are damaged, and this one after it; False if that was done before."""
        spec, home = job.spec, self._record.home
        culprit = next((run for run in spec.dependencies if run.key == event.damaged), None)
        if culprit is None or (spec.key, culprit.key) in self._renewed:
            return False
        if culprit.key not in {key for _, key in self._renewed}:
            path = weights_file(home, culprit)
            kept = f" They are kept as {set_aside(path).name}." if os.path.lexists(path) else ""
            self._observer.on_note(culprit, f"{event.reason}.{kept} The run is trained again.")
        self._renewed.add((spec.key, culprit.key))
        self._wait_again(spec)
        missing = [run for run in with_missing_weights([spec], home) if run.key not in self._unfinished]
        self._unfinished |= {run.key: run for run in missing}
        self._needed |= {dependency.key for run in missing for dependency in run.dependencies}
        self._waiting[:0] = missing
        return True

    def _wait_again(self, spec: RunSpec) -> None:
        """Let a run that was started wait; what it has trained is kept, and the record goes on with it."""
        with suppress(Exception):  # start() resumes it anyway
            self._record.kill(spec)
        self._sharing.end(spec.key)
        self._watches.end(spec.key)
        self._training.pop(spec.key).release()
        self._waiting.insert(0, spec)  # what starts from it comes later

    def _fail(self, spec: RunSpec, traceback: str, reason: str = "") -> None:
        reason = one_line(reason or error_at_end(traceback))
        with suppress(Exception):  # where the record itself fails, the caller still learns the reason
            self._record.fail(spec, traceback, reason)
        self._note_failure(spec, reason, spec)
        self._end(spec, "failed")

    def _fail_blocked(self) -> None:
        """Fail the runs that start from a failed one; one pass is enough, as they come after it."""
        if not self.outcome.failed:  # this is asked at every event, and a plan may have thousands of runs
            return
        failed = {failure.spec.key for failure in self.outcome.failed}
        for spec in list(self._waiting):
            culprit = next((d for d in spec.dependencies if d.key in failed), None)
            if culprit is not None:
                failed.add(spec.key)
                self._waiting.remove(spec)
                self._note_failure(spec, f"needs {culprit.label}, which failed", culprit)
                self._observer.on_end(spec, "failed")

    def _note_failure(self, spec: RunSpec, reason: str, logged: RunSpec) -> None:
        log = work_folder(self._record.home, logged) / "log.txt"
        self.outcome.failed.append(Failure(spec, reason, log if os.path.isfile(log) else None))

    def _end(self, spec: RunSpec, status: str, taken: float = 0.0) -> None:
        lock = self._training.pop(spec.key)
        self._sharing.end(spec.key, taken)
        self._watches.end(spec.key)
        if status == "finished":
            del self._unfinished[spec.key]
            self.outcome.finished.append(spec)
            clean(self._record.home, lock)
        lock.release()
        self._observer.on_end(spec, status)

    def _stop(self, spec: RunSpec, failed: bool) -> None:
        """Mark a run that is no longer trained."""
        with suppress(Exception):  # an unreachable record must not hide why we stop; start() resumes anyway
            self._record.kill(spec)
        if failed:
            self._note_failure(spec, self._untrained, spec)
        self._end(spec, "killed")


def with_missing_weights(specs: Sequence[RunSpec], home: Path) -> list[RunSpec]:
    """`specs`, each after the runs that it starts from; of these, those whose weights are missing are added."""
    named, wanted = {spec.key for spec in specs}, dict[str, RunSpec]()

    def add(spec: RunSpec) -> None:
        for dependency in spec.dependencies:
            if dependency.key in named or not weights_file(home, dependency).exists():
                add(dependency)
        wanted[spec.key] = spec

    for spec in specs:
        add(spec)
    return list(wanted.values())
