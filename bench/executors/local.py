"""The local executor: runs a plan over worker processes and writes the record."""

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from mcr_bench.bench.core.interrupts import check, deferred
from mcr_bench.bench.errors import in_words, one_line, told_by
from mcr_bench.bench.executors.pool import Worker, default_jobs, ready
from mcr_bench.bench.record.provenance import surroundings
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import EpochDone, Event, Failure, Job, Observer, Outcome, RunDone, RunFailed, Silent

if TYPE_CHECKING:
    from mcr_bench.bench.runs.spec import RunSpec

ENTRY = "mcr_bench.bench.training.loop:fit_run"
POLL_SECONDS = 0.5
ATTEMPTS = 2  # how often a run is given to a worker that dies of it


def execute(
    specs: Sequence["RunSpec"],
    record: Record,
    *,
    jobs: int | None = None,
    device: str = "auto",
    observer: Observer | None = None,
    done: int = 0,
    force: bool = False,
    keep_weights: Callable[["RunSpec"], bool] = lambda _: True,
    entry: str = ENTRY,
) -> Outcome:
    """Train `specs`, dependencies first, on `jobs` workers (default: one per core, or per GPU), and record them.

    `done` runs of the plan were finished before. Dependencies that are not among `specs` are finished ones; one whose
    weights are gone is trained again. A run's weights are kept only where `keep_weights` or a dependent wants them.
    `force` trains finished keys again. KeyboardInterrupt is raised again after the workers have stopped and their runs
    are marked as killed; the next call goes on with them.
    """
    from mcr_bench.bench.core.device import devices  # imports torch

    wanted = _with_missing_weights(specs, record.home)
    _sweep(record, {spec.key for spec in wanted})
    count = max(1, min(jobs or default_jobs(device), len(wanted)))
    places = devices(device, count)
    execution = _Execution(wanted, record, observer or Silent(), force, keep_weights, entry)
    total = max(len(specs) + done, len(wanted))
    execution.observer.on_plan(total, total - len(wanted))
    if wanted:
        execution.run(places)
    return execution.outcome


class _Execution:
    """The state of one `execute`: `pending` waits, `active` is trained now, its locks held."""

    def __init__(
        self,
        wanted: list["RunSpec"],
        record: Record,
        observer: Observer,
        force: bool,
        keep_weights: Callable[["RunSpec"], bool],
        entry: str,
    ) -> None:
        self.pending = list(wanted)
        self.active: dict[str, tuple[RunSpec, FileLock]] = {}
        self.outcome = Outcome()
        self.observer = observer
        self._record, self._home, self._entry = record, record.home, entry
        self._force, self._keep_weights = force, keep_weights
        self._needed = {dependency.key for spec in wanted for dependency in spec.dependencies}
        self._open = {spec.key for spec in wanted}
        self._deaths: dict[str, int] = {}
        self._workers: list[Worker] = []

    def run(self, places: list[str]) -> None:
        """Until nothing is pending or active. However it ends, workers are stopped and runs left over marked killed."""
        try:
            with deferred():
                self._workers += [Worker(self._entry, place) for place in places]
            while self.pending or self.active:
                check()
                self._fail_blocked()
                self._dispatch()
                for worker in ready(self._workers, POLL_SECONDS if self.pending or self.active else 0):
                    for event in worker.events():
                        self._take(worker, event)
                self._record.flush_if_due()
        finally:
            with deferred():
                self._stop()

    def _dispatch(self) -> None:
        for worker in self._workers:
            while worker.free and (claim := self._claim()):
                spec, lock = claim
                self.pending.remove(spec)
                self.active[spec.key] = (spec, lock)
                again = self._force or (spec.key in self._needed and not weights_file(self._home, spec).exists())
                if self._record.start(spec, again) is None:  # another command has finished it meanwhile
                    self._end(spec, "finished")
                else:
                    worker.give(self._job(spec, worker.device))
                    self.observer.on_start(spec)

    def _claim(self) -> tuple["RunSpec", FileLock] | None:
        """The first run that waits for no dependency and for no other command, with its lock."""
        for spec in self.pending:
            if not any(dependency.key in self._open for dependency in spec.dependencies):
                lock = _lock(self._home, spec.key)
                with suppress(Timeout):
                    lock.acquire(timeout=0)
                    return spec, lock
        return None

    def _job(self, spec: "RunSpec", device: str) -> Job:
        weights = {dependency.key: weights_file(self._home, dependency) for dependency in spec.dependencies}
        kept = spec.key in self._needed or self._keep_weights(spec)
        weights_out = weights_file(self._home, spec) if kept else work_folder(self._home, spec) / "weights.pt"
        return Job(spec, device, work_folder(self._home, spec), weights, weights_out)

    def _take(self, worker: Worker, event: Event | None) -> None:
        if event is None:
            self._replace(worker)
        elif worker.job and isinstance(event, EpochDone):
            self._record.log_epoch(worker.job.spec, event)
            self.observer.on_epoch(worker.job.spec, event)
        elif worker.job:
            job, worker.job = worker.job, None
            if isinstance(event, RunDone):
                self._finish(job, event)
            elif isinstance(event, RunFailed):
                self._fail(job.spec, event.traceback, event.reason)

    def _finish(self, job: Job, event: RunDone) -> None:
        metrics = {"cost/seconds": event.seconds} | event.metrics
        try:
            self._record.finish(job.spec, metrics, [job.predictions], surroundings(job.device) | event.tags)
        except Exception as error:
            self._fail(job.spec, f"trained, but it could not be recorded: {in_words(error)}")
            return
        self._end(job.spec, "finished")

    def _fail(self, spec: "RunSpec", traceback: str, reason: str = "") -> None:
        reason = one_line(reason or told_by(traceback))
        with suppress(Exception):  # where the record itself fails, the caller still learns the reason
            self._record.fail(spec, traceback, reason)
        self.outcome.failed.append(Failure(spec, reason, work_folder(self._home, spec) / "log.txt"))
        self._end(spec, "failed")

    def _fail_blocked(self) -> None:
        """Fail what needs a failed run; one pass is enough, as dependents come after their dependencies."""
        failed = {failure.spec.key for failure in self.outcome.failed}
        for spec in list(self.pending):
            culprit = next((d for d in spec.dependencies if d.key in failed), None)
            if culprit is not None:
                failed.add(spec.key)
                self.pending.remove(spec)
                log = work_folder(self._home, culprit) / "log.txt"
                self.outcome.failed.append(Failure(spec, f"needs {culprit.label}, which failed", log))
                self.observer.on_end(spec, "failed")

    def _replace(self, worker: Worker) -> None:
        """A new worker for a dead one. Its run goes on from the checkpoint, until it has killed too many."""
        with deferred():
            fresh = Worker(self._entry, worker.device)
            self._workers[self._workers.index(worker)] = fresh
        worker.pipe.close()
        if worker.job is not None:
            key = worker.job.spec.key
            self._deaths[key] = self._deaths.get(key, 0) + 1
            if self._deaths[key] < ATTEMPTS:
                fresh.give(worker.job)
            else:
                self._fail(worker.job.spec, f"{worker.cause_of_death()}, {ATTEMPTS} times")

    def _end(self, spec: "RunSpec", status: str) -> None:
        _, lock = self.active.pop(spec.key)
        if status == "finished":
            self._open.discard(spec.key)
            self.outcome.finished.append(spec)
            _clean(self._home, lock)
        lock.release()
        self.observer.on_end(spec, status)

    def _stop(self) -> None:
        for worker in self._workers:
            worker.stop()
        for spec, _ in list(self.active.values()):
            with suppress(Exception):  # an unreachable record must not hide why we stop; start() resumes anyway
                self._record.kill(spec)
            self._end(spec, "killed")


def work_folder(home: Path, spec: "RunSpec") -> Path:
    """Where a run keeps its checkpoint until it is finished."""
    return home / "work" / spec.key


def weights_file(home: Path, spec: "RunSpec") -> Path:
    """Where a run's best weights are."""
    return home / "weights" / f"{spec.key}.pt"


def _sweep(record: Record, wanted: set[str]) -> None:
    """Clean up after commands killed between recording a run as finished and removing what it had left."""
    home = record.home
    left = {path.stem for folder in ("work", "locks") for path in (home / folder).glob("*")} - wanted
    for key in record.finished_keys(left) if left else ():
        lock = _lock(home, key)
        with suppress(Timeout), lock.acquire(timeout=0):
            _clean(home, lock)


def _lock(home: Path, key: str) -> FileLock:
    """Held by the command that trains the key."""
    (home / "locks").mkdir(parents=True, exist_ok=True)
    return FileLock(home / "locks" / f"{key}.lock")


def _clean(home: Path, lock: FileLock) -> None:
    """Remove what a finished run needs no longer, its lock, which is held, last."""
    file = Path(lock.lock_file)
    shutil.rmtree(home / "work" / file.stem, ignore_errors=True)
    for partial in (home / "weights").glob(f"{file.stem}.*.partial"):
        partial.unlink(missing_ok=True)
    # Only now: who gets hold of the removed file and who makes a new one both find the key finished.
    file.unlink(missing_ok=True)


def _with_missing_weights(specs: Sequence["RunSpec"], home: Path) -> list["RunSpec"]:
    """`specs` after their dependencies, with those dependencies added whose weights are gone."""
    named, wanted = {spec.key for spec in specs}, dict[str, "RunSpec"]()

    def add(spec: "RunSpec") -> None:
        for dependency in spec.dependencies:
            if dependency.key in named or not weights_file(home, dependency).exists():
                add(dependency)
        wanted[spec.key] = spec

    for spec in specs:
        add(spec)
    return list(wanted.values())
