"""Runs that share a GPU: how much memory a further one should find free, and which have to wait or be alone."""

import math

from mcr_bench.bench.runs.events import Shortage


def most_on(device: str, choice: str, jobs: int | None, runs_per_gpu: int | None) -> int:
    """The most runs of a plan that may be at work on `device` at a time; 1 on a CPU, whose memory is nobody's share.

    choice, jobs, runs_per_gpu: `device`, `jobs` and `runs_per_gpu` of the plan.

    >>> most_on("cuda:1", "auto", None, 4), most_on("cuda:1", "cuda:1", 3, None), most_on("cpu", "cpu", 8, None)
    (4, 3, 1)
    """
    if not device.startswith("cuda"):
        return 1
    if runs_per_gpu is not None or jobs is None:
        return runs_per_gpu or 1
    if choice.startswith("cuda:"):
        return jobs
    from mcr_bench.bench.core.device import gpu_count  # imports torch, which the parent does without on a CPU

    return math.ceil(jobs / max(1, gpu_count()))


class Sharing:
    """The runs at work on each place, a place being a device or whatever has its own memory.

    A run that ran out of memory beside others starts again at a place where no other run is at work, and none joins it.
    A place that had no room for a further run takes none until a run there has ended.
    """

    def __init__(self) -> None:
        self._at_work: dict[str, set[str]] = {}  # place -> keys
        self._places: dict[str, str] = {}  # key -> place
        self._company: set[str] = set()  # keys at work that share their place now or did before
        self._alone: set[str] = set()
        self._full: set[str] = set()
        self._largest = 0.0

    def takes(self, place: str, key: str) -> bool:
        """Whether the run may start at this place now."""
        others = self._at_work.get(place)
        return not others or not (place in self._full or key in self._alone or others & self._alone)

    def begin(self, key: str, place: str) -> float:
        """Note that a run starts; the memory in MiB that it should find free, 0 where no other one is at work.

        That is what the largest run that has ended took: no run is known to need more.
        """
        others = self._at_work.setdefault(place, set())
        room = self._largest if others else 0.0
        if others:
            self._company |= {key, *others}
        else:
            self._full.discard(place)
        others.add(key)
        self._places[key] = place
        return room

    def end(self, key: str, taken: float = 0.0) -> None:
        """Note that a run is no longer at work; nothing for one that was not. taken: the memory in MiB that it had."""
        place = self._places.pop(key, None)
        if place is None:
            return
        self._at_work[place].discard(key)
        self._full.discard(place)
        self._company.discard(key)
        self._alone.discard(key)
        self._largest = max(self._largest, taken)

    def had_company(self, key: str) -> bool:
        """Whether a run at work shares its place with others, or did since it began."""
        return key in self._company

    def is_alone(self, key: str) -> bool:
        """Whether a run has to be alone at its place."""
        return key in self._alone

    def put_off(self, key: str, lacked: Shortage) -> None:
        """Note that a run lacked memory beside others, and starts again later."""
        place = self._places[key]
        self.end(key)
        if lacked is Shortage.MEMORY:
            self._alone.add(key)
        else:
            self._full.add(place)
