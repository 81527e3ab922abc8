"""The runs of one plan are handed out, and what becomes of them is taken in."""

import math
import os
from collections import Counter
from dataclasses import replace
from itertools import count

from mcr_bench.bench.core.workers.pool import ATTEMPTS
from mcr_bench.bench.executors.base import TrainingPlan
from mcr_bench.bench.executors.cluster.link import Bridge
from mcr_bench.bench.executors.cluster.messages import Lost, Refused, Room, Started
from mcr_bench.bench.executors.cluster.orders import Order
from mcr_bench.bench.executors.jobs import Jobs
from mcr_bench.bench.runs.events import EpochDone, Event, Job, RunDone, RunFailed, Shortage, Told

MOST_NODES = 5  # nodes that a run may lose without getting further: it may be what they die of
CROWDED = "its GPU ran out of memory with several runs on it: it is tried again with a GPU to itself"


class Dispatch:
    """Hands out the runs of one plan, and takes in what becomes of them."""

    def __init__(self, plan: TrainingPlan, jobs: Jobs, bridge: Bridge, room: Room) -> None:
        self._jobs, self._bridge, self._room = jobs, bridge, room
        self._most = math.inf if plan.jobs is None else plan.jobs
        self._numbers = count()
        self._at_work: dict[int, Job] = {}
        self._began: dict[int, Started] = {}
        self._whole: set[str] = set()  # keys of runs that need a GPU to themselves
        self._reached: dict[str, int] = {}  # key -> last epoch
        self._workers, self._nodes = Counter[str](), Counter[str]()  # lost in a row, without getting further

    def run(self) -> None:
        """Until every run has ended, or the cluster is lost."""
        while self._jobs.go_on():
            self._deal()
            self._stop_some()
            for message in self._bridge.messages():
                if message is None or isinstance(message, Refused):
                    return self._jobs.give_up(self._bridge.gone)
                self._take(message)

    def _deal(self) -> None:
        """Order as many runs as the cluster has room for; one in any case, for which Ray may wait for a node."""
        device = "cuda:0" if self._room.share.gpu else "cpu"  # of a GPU Ray shows to a run its own alone
        while self._jobs.waiting and len(self._at_work) < min(self._most, max(1, self._room.slots)):
            number = next(self._numbers)
            job = self._jobs.next(device, place=f"order {number}")
            if job is None:
                return
            whole = job.spec.key in self._whole
            self._at_work[number] = replace(job, alone=whole, sharing=1 if whole else self._room.share.sharing)
            self._bridge.send(Order(number, self._at_work[number], whole))

    def _stop_some(self) -> None:
        for job, reason in self._jobs.to_stop():
            for number in [number for number, one in self._at_work.items() if one.spec is job.spec]:
                self._bridge.drop(number)
                del self._at_work[number]
            self._jobs.fail(job, reason)

    def _take(self, message: Room | tuple[int, Started | Lost | Event]) -> None:
        if isinstance(message, Room):
            self._room = message
            return
        number, report = message
        if (job := self._at_work.get(number)) is None:  # it was stopped
            return
        if isinstance(report, Started):
            self._began[number] = report
        elif isinstance(report, Lost | RunDone | RunFailed):
            began = self._began.pop(number, None)
            del self._at_work[number]
            self._end(job, began, report)
        else:
            self._advance(report)
            self._jobs.take(job, report)

    def _end(self, job: Job, began: Started | None, report: Lost | RunDone | RunFailed) -> None:
        if isinstance(report, Lost):
            return self._lost(job, began, report)
        if report.short is Shortage.MEMORY and job.sharing > 1:
            self._whole.add(job.spec.key)
            self._jobs.retry(job, CROWDED)
        else:
            self._jobs.take(job, report)

    def _advance(self, event: EpochDone | Told) -> None:
        if isinstance(event, EpochDone) and event.epoch > self._reached.get(event.key, 0):
            self._reached[event.key] = event.epoch
            self._workers.pop(event.key, None)
            self._nodes.pop(event.key, None)

    def _lost(self, job: Job, began: Started | None, lost: Lost) -> None:
        """Try a run again, unless it keeps losing what trains it."""
        key = job.spec.key
        times = self._nodes if lost.node else self._workers
        times[key] += 1
        where = f" ({began.host})" if began else ""
        if times[key] >= (MOST_NODES if lost.node else ATTEMPTS):
            self._jobs.fail(job, f"{lost.reason}, {times[key]} times{where}")
        else:
            self._jobs.retry(job, f"{lost.reason}{where}: it starts again {_from(job, began)}")


def _from(job: Job, began: Started | None) -> str:
    if began is not None and not began.shared:
        return f"from its start, as that node does not see {os.fspath(job.folder.parents[1])}"
    return "from its last checkpoint" if any(job.folder.glob("checkpoint*")) else "from its start"
