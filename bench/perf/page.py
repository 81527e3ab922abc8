"""The page docs/performance.md, made of the results that stand beside it in docs/performance.json."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from mcr_bench.bench.core.files import write_whole
from mcr_bench.bench.perf.measured import Measured
from mcr_bench.bench.perf.store import Part, part_of
from mcr_bench.bench.perf.table import at_least, wanted

HEAD = """# Performance

This page is written by `make perf` from one run per type of device; `performance.json` beside it holds the numbers.
Times are taken in turns within one process, and a number is the median over its rounds. On a CPU, where one thread does
the work, training is timed in CPU seconds. Look at ratios first: they depend less on the machine than times do.
`wanted` is the largest value, or with `>=` the smallest, that the project accepts as good.
"""
Runs = dict[str, list[Part]]  # type of device -> the parts of one run


def shown(value: float, unit: str) -> str:
    """A number with its unit.

    >>> shown(0.0312, "share"), shown(1.0049, "ratio"), shown(17.25, "ms")
    ('3.1 %', '1.005', '17.25 ms')
    """
    if unit == "share":
        return f"{100 * value:.1f} %"
    if unit == "ratio":
        return f"{value:.3f}"
    return f"{value:.2f} {unit}" if unit in ("ms", "s") else f"{value:,.0f} {unit}"


def limit(kind: str, one: Measured) -> str:
    """The largest or smallest value that is wanted of a number, with its unit; empty where there is no limit."""
    for sign, value in (("<=", wanted(kind, one.title)), (">=", at_least(kind, one.title))):
        if value is not None:
            return f"{sign} {shown(value, one.unit)}"
    return ""


def page_text(runs: Runs) -> str:
    """The page, in Markdown."""
    sections = ["\n".join(_section(kind, parts)) for kind, parts in sorted(runs.items())]
    return "\n".join([HEAD, *sections])


def _section(kind: str, parts: Sequence[Part]) -> Iterator[str]:
    origin, dates = parts[0].origin, sorted({part.date for part in parts})
    yield f"## {kind}: {origin.name}\n"
    yield (
        f"Device `{origin.device}`, {origin.cores} cores, PyTorch {origin.torch}, Python {origin.python}, "
        f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))}, commit {origin.commit[:12] or 'unknown'}. "
        f"It took {sum(part.seconds for part in parts):.0f} s."
    )
    yield f"Repeat it with `make perf DEVICE={origin.device}`, or one part of it with `PART=NAME`.\n"
    for part in parts:
        yield f"### {part.name}\n"
        if part.values:
            yield "| number | measured | wanted | rounds |"
            yield "|---|---|---|---|"
            yield from (_row(kind, one) for one in part.values)
            yield ""
        if part.missing:
            yield f"Missing: {part.missing}.\n"


def _row(kind: str, one: Measured) -> str:
    rounds = "" if one.low == one.high else f"{shown(one.low, one.unit)} to {shown(one.high, one.unit)}"
    return f"| {one.title} | {shown(one.value, one.unit)} | {limit(kind, one)} | {rounds} |"


def write_page(kind: str, parts: Sequence[Part], folder: Path) -> Path:
    """Replace the run of this type of device in `performance.json`, and write the page, which is returned."""
    data, page = folder / "performance.json", folder / "performance.md"
    runs = read_runs(data) if data.exists() else {}
    runs[kind] = list(parts)
    content = {name: [asdict(part) for part in run] for name, run in sorted(runs.items())}
    write_whole(data, json.dumps(content, indent=1) + "\n")
    write_whole(page, page_text(runs))
    return page


def read_runs(path: Path) -> Runs:
    """The runs in `performance.json`."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return {kind: [part_of(part) for part in parts] for kind, parts in content.items()}
