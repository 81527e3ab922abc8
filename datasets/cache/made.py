"""What preparing has done, and the same in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.printable import in_line
from mcr_bench.bench.problem.overlaps import empty
from mcr_bench.datasets.cache.layout import on_disk
from mcr_bench.datasets.cache.opened import MANIFEST

MOST_LINES = 20  # of a list of clips in a report


@dataclass(frozen=True)
class Made:
    """What `prepare` did. decoded: clips decoded now (the others were whole already); quarantine, problems: (clip or
    file, reason); findings: (clip, what is odd about it), of kept ones; notes: (folder or list, what).
    """

    found: int
    kept: int
    decoded: int
    quarantine: list[tuple[str, str]]
    problems: list[tuple[str, str]]
    findings: list[tuple[str, str]]
    notes: list[tuple[str, str]]
    up_to_date: bool


def report_of(made: Made, folder: Path) -> str:
    """What was done, in words: counts, what was left out and why, size on disk and place."""
    whole = made.kept - made.decoded
    lines = ["Up to date, nothing to do."] if made.up_to_date else []
    size = on_disk(folder) / 2**20
    lines.append(f"{made.kept} of {made.found} clips -> {folder} ({size:,.1f} MiB on disk)")
    if whole and not made.up_to_date:
        lines.append(f"{made.decoded} decoded now, {whole} were whole already")
    where = f"all of them: {folder / MANIFEST}"
    if made.quarantine:
        lines += [f"{len(made.quarantine)} in quarantine:", listed(made.quarantine, MOST_LINES, where)]
    if made.problems:
        lines += [f"{len(made.problems)} left out of the scan:", listed(made.problems, MOST_LINES, where)]
    if made.findings:
        clips = len({clip for clip, _ in made.findings})
        lines += [f"{clips} kept that you should look at:", listed(made.findings, MOST_LINES, where)]
    return "\n".join([*lines, *(in_line(f"note: {place}: {what}") for place, what in made.notes)])


def without_parts(parts: Mapping[tuple[str, int], Array]) -> list[str]:
    """Lines on those of the protocols and folds that have an empty part. parts: (N,) of each, as in the audit."""
    lost = {key: words for key, part in parts.items() if (words := empty(part))}
    lines = [f"  {name}, fold {fold}: no clip in {' and '.join(words)}" for (name, fold), words in lost.items()]
    return [f"EMPTY: {len(lost)} fold{'s' * (len(lost) > 1)} cannot be run:", *lines] if lost else []


def listed(found: Sequence[tuple[str, str]], most: int, where: str) -> str:
    """A line for each (what, reason), at most so many, then a count and where the others are."""
    lines = [in_line(f"  {what}: {reason}") for what, reason in found[:most]]
    if len(found) > most:
        lines.append(f"  and {len(found) - most} more" + (f"; {where}" if where else ""))
    return "\n".join(lines)
