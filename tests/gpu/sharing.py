"""Several runs on one GPU: at the same time, with the results of runs alone; and what happens without memory."""

import time
from collections.abc import Callable

import torch

from mcr_bench.bench.runs.events import Event, Job, Silent
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.training.loop import fit_run
from mcr_bench.tests.gpu.checks import Place
from mcr_bench.tests.gpu.staying import train_staying
from mcr_bench.tests.gpu.training import planned, require_equal, train

SLOW, GREEDY, HOPELESS = (f"{__name__}:{name}" for name in ("slowly", "greedily", "hopelessly"))
held: list[torch.Tensor] = []


class Times(Silent):
    """Notes when each run began and ended."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}
        self.ended: dict[str, float] = {}

    def on_start(self, spec: RunSpec) -> None:
        self.began.setdefault(spec.key, time.monotonic())

    def on_end(self, spec: RunSpec, status: str) -> None:
        self.ended[spec.key] = time.monotonic()


def slowly(job: Job, emit: Callable[[Event], None]) -> None:
    """Train a job whose epochs take a moment."""

    def later(event: Event) -> None:
        emit(event)
        time.sleep(0.3)

    fit_run(job, later)


def greedily(job: Job, emit: Callable[[Event], None]) -> None:
    """Train a job while 60 % of the GPU's memory are held: two of them do not fit, one does."""
    _hold(job, 0.6)
    fit_run(job, emit)


def hopelessly(job: Job, emit: Callable[[Event], None]) -> None:
    """Ask for more memory than the GPU has, whoever shares it."""
    _hold(job, 1.5)
    fit_run(job, emit)


def together(place: Place) -> str:
    """Two runs on one device overlap in time, and are bit-equal to the same runs in other processes."""
    plan, times = planned(["joint"], "synthetic", 2, epochs="3"), Times()
    how = {"runs_per_gpu": 2} if place.gpu else {"jobs": 2}
    at_once = train(plan, place.folder / "two", place.name, entry=SLOW, observer=times, deterministic=True, **how)
    at_once.require_finished(2)
    overlap = min(times.ended.values()) - max(times.began.values())
    assert overlap > 0, f"one run began {-overlap:.1f} s after the other had ended"
    alone = train_staying(plan.runs, place.folder / "one", place, deterministic=True)
    require_equal(at_once, alone, [spec.key for spec in plan.runs])
    return f"two runs overlapped by {overlap:.1f} s"


def out_of_memory(place: Place) -> str:
    """Two runs that fit alone but not together both finish: the one that ran out of memory is tried again alone."""
    place.require_gpu("memory runs out on a GPU alone")
    plan = planned(["joint"], "synthetic", 2)
    trained = train(plan, place.folder / "record", place.name, entry=GREEDY, runs_per_gpu=2)
    trained.require_finished(2)
    return "2 runs with 60 % of the memory each have finished"


def too_large(place: Place) -> str:
    """A run that does not fit alone fails, and its reason names the memory."""
    place.require_gpu("memory runs out on a GPU alone")
    plan = planned(["joint"], "synthetic", 1)
    trained = train(plan, place.folder / "record", place.name, entry=HOPELESS, runs_per_gpu=2)
    assert len(trained.outcome.failed) == 1, "it finished"
    reason = trained.outcome.failed[0].reason
    assert "memory" in reason, reason
    return reason


def _hold(job: Job, share: float) -> None:
    """Hold this share of the GPU's memory, in blocks, until the process ends."""
    device = torch.device(job.device)
    torch.cuda.init()
    total = torch.cuda.get_device_properties(device).total_memory
    block = 2**28
    for _ in range(int(total * share) // block):
        held.append(torch.ones(block, dtype=torch.uint8, device=device))
        time.sleep(0.002)
