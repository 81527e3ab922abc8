"""A plan split over several machines: `--shard 2/4` is the second of four parts.

The rule. Runs that start from others stay with them, so that every part can be trained in a home of its own. These
groups are sorted by dataset, size, methods and keys, and each is given to the part that has least so far, in epochs
times modalities. A part thus depends on what the plan holds alone: not on the order in which it was typed, on the
machine, or on what is finished. Together the parts are the plan, and no run is in two of them.
"""

import hashlib
import heapq
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.planning.plan import Plan
from mcr_bench.bench.runs.spec import RunSpec

MOST = 10_000  # parts; a number with more digits is a slip of the keyboard


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of a plan.

    index: its number, from 1.
    count: how many parts there are.
    """

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def of(self, plan: Plan) -> Plan:
        """This part of a plan, announced as such. It may have no runs, if the plan has fewer groups than parts."""
        kept = self._dealt(_groups(plan.runs))
        line = f"Shard {self}: {len(kept)} of the {len(plan.runs)} runs of plan {_name(plan)}. Tables show these alone."
        return replace(
            plan,
            by_key={key: run for key, run in plan.by_key.items() if key in kept},
            requested=plan.requested & kept,
            by_preset={key: presets for key, presets in plan.by_preset.items() if key in kept},
            announcements=[*plan.announcements, line],
        )

    def _dealt(self, groups: Iterable[list[RunSpec]]) -> set[str]:
        """The keys of the runs of this part."""
        loads, kept = [(0, index) for index in range(1, self.count + 1)], set[str]()
        for group in groups:
            load, index = loads[0]
            heapq.heapreplace(loads, (load + _size(group), index))
            if index == self.index:
                kept |= {run.key for run in group}
        return kept


def parse_shard(text: str) -> Shard:
    """The part that `--shard` means. UserError for anything but I/N with whole numbers 1 <= I <= N.

    >>> parse_shard("2/4")
    Shard(index=2, count=4)
    """
    match = re.fullmatch(r"\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*", text)
    index, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= index <= count <= MOST:
        raise UserError(
            f"--shard '{text}': not allowed. Give I/N, the number of this part and how many there are, with "
            f"1 <= I <= N <= {MOST}: 1/4, 2/4, 3/4 and 4/4 on four machines."
        )
    return Shard(index, count)


def _groups(runs: Iterable[RunSpec]) -> list[list[RunSpec]]:
    """The runs in the order in which they are dealt, those together that start from one another, or from the same."""
    leader: dict[str, str] = {}

    def find(key: str) -> str:
        while leader.setdefault(key, key) != key:
            leader[key] = leader[leader[key]]
            key = leader[key]
        return key

    every = list(runs)
    for run in every:
        for dependency in run.dependencies:
            first, second = sorted((find(run.key), find(dependency.key)))
            leader[second] = first
    groups = defaultdict[str, list[RunSpec]](list)
    for run in every:
        groups[find(run.key)].append(run)
    return sorted(groups.values(), key=_order)


def _order(group: list[RunSpec]) -> tuple[str, int, list[str], list[str]]:
    """Groups of one kind take about the same time: they follow one another, so that every part gets some of them."""
    return (
        min(run.dataset for run in group),
        -_size(group),
        sorted(run.method for run in group),
        sorted(run.key for run in group),
    )


def _size(group: list[RunSpec]) -> int:
    """What the time of a group is assumed to be proportional to."""
    return sum(max(1, int(run.training["epochs"])) * len(run.modalities) for run in group)


def _name(plan: Plan) -> str:
    """A digest of a plan's keys: machines that show the same one split the same plan."""
    return hashlib.sha256("".join(sorted(plan.by_key)).encode()).hexdigest()[:10]
