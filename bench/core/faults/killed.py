"""Processes that the system kills because memory is short, which it counts."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

# Of the whole machine, and of the group of processes that a container or a scheduler has put this one into.
MACHINE, GROUP, OWN_GROUPS = Path("/proc/vmstat"), Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
COUNTERS = ("memory.events", "memory.oom_control")  # of the second and the first version of such groups


def memory_kills() -> int:
    """How many processes were killed for lack of memory so far, some counted twice; 0 where nothing tells."""
    return sum(map(_count, [MACHINE, *_counters()]))


def _counters() -> Iterable[Path]:
    with suppress(OSError, ValueError):
        for line in OWN_GROUPS.read_text().splitlines():
            kind, group = line.split(":", 2)[1:]
            if kind in ("", "memory"):
                yield from (GROUP / kind / group.strip("/") / name for name in COUNTERS)


def _count(file: Path) -> int:
    """The value of the line `oom_kill` in a file of counters; 0 where there is none."""
    with suppress(OSError, ValueError):
        for name, _, value in (line.partition(" ") for line in file.read_text().splitlines()):
            if name == "oom_kill":
                return int(value)
    return 0
