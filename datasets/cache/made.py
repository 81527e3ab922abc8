"""The result of preparing, and the same in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.printable import in_line
from mcr_bench.bench.problem.overlaps import empty
from mcr_bench.datasets.cache.layout import on_disk
from mcr_bench.datasets.cache.opened import MANIFEST

MOST_LINES = 20  # lines of a list of clips in a report


@dataclass(frozen=True)
class Made:
    """The result of `prepare`.

    clips: the number of clips in the raw folder.
    kept: the number of clips that can be used.
    decoded: the number of clips that were decoded now; the others had been decoded before.
    quarantine: (clip, reason) of the clips that cannot be used.
    problems: (clip or file, reason) of what was left out before decoding.
    findings: (clip, what looks wrong about it) of kept clips.
    notes: (folder or list, remark).
    up_to_date: whether nothing had to be done.
    """

    clips: int
    kept: int
    decoded: int
    quarantine: list[tuple[str, str]]
    problems: list[tuple[str, str]]
    findings: list[tuple[str, str]]
    notes: list[tuple[str, str]]
    up_to_date: bool


def report_of(made: Made, folder: Path) -> str:
    """The result in words: counts, what was left out with reasons, size on disk and folder."""
    earlier = made.kept - made.decoded
    lines = ["Up to date, nothing to do."] if made.up_to_date else []
    size = on_disk(folder) / 2**20
    lines.append(f"{made.kept} of {made.clips} clips -> {folder} ({size:,.1f} MiB on disk)")
    if earlier and not made.up_to_date:
        lines.append(f"{made.decoded} decoded now, {earlier} decoded earlier")
    where = f"all of them: {folder / MANIFEST}"
    if made.quarantine:
        lines += [f"{len(made.quarantine)} in quarantine:", listed(made.quarantine, MOST_LINES, where)]
    if made.problems:
        lines += [f"{len(made.problems)} left out before decoding:", listed(made.problems, MOST_LINES, where)]
    if made.findings:
        clips = len({clip for clip, _ in made.findings})
        lines += [f"{clips} kept that you should look at:", listed(made.findings, MOST_LINES, where)]
    return "\n".join([*lines, *(in_line(f"note: {place}: {what}") for place, what in made.notes)])


def without_parts(parts: Mapping[tuple[str, int], Array]) -> list[str]:
    """Lines about the folds that have an empty part; no line if there are none.

    parts: (protocol, fold) -> (N,) text, the part of each clip, as in the audit.
    """
    incomplete = {key: words for key, part in parts.items() if (words := empty(part))}
    if not incomplete:
        return []
    folds = "1 fold" if len(incomplete) == 1 else f"{len(incomplete)} folds"
    lines = [f"  {name}, fold {fold}: no clip in {' and '.join(words)}" for (name, fold), words in incomplete.items()]
    return [f"EMPTY: {folds} cannot be run:", *lines]


def listed(entries: Sequence[tuple[str, str]], most: int, where: str) -> str:
    """A line for each of the first (name, reason), at most `most`; then the number of the others and where they are."""
    lines = [in_line(f"  {what}: {reason}") for what, reason in entries[:most]]
    if len(entries) > most:
        lines.append(f"  and {len(entries) - most} more" + (f"; {where}" if where else ""))
    return "\n".join(lines)
