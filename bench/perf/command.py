"""`make perf`: measures the parts that are asked for, prints every number, and writes docs/performance.md.

Without `--part` the parts that are not yet measured are measured, so that the same command continues a run that was
interrupted; after a complete run it starts a new one. The parts that `--part` names are always measured.
"""

import argparse
import gc
import importlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path

import torch

from mcr_bench.bench.core import device as devices
from mcr_bench.bench.errors import UserError, in_words
from mcr_bench.bench.perf.measured import Machine, Measured, machine
from mcr_bench.bench.perf.page import limit, shown, write_page
from mcr_bench.bench.perf.store import Origin, Part, origin_of, save, saved
from mcr_bench.bench.printable import printable

# Type of device -> its parts. Each is the function with the name of its module; a part is imported when it is measured,
# as it may need a library that others do without.
PARTS = {
    "cpu": (
        "starting",
        "isolation",
        "reading",
        "waiting",
        "steps",
        "methods",
        "passes",
        "short",
        "own_loop",
        "determinism",
        "packing",
        "recording",
        "thousands",
    ),
    "cuda": ("steps", "methods", "memory", "waiting", "own_loop", "determinism", "packing"),
}


def parts_of(kind: str) -> tuple[str, ...]:
    """The names of the parts that are measured on a type of device."""
    return PARTS["cuda" if kind == "cuda" else "cpu"]


def chosen_parts(asked: Sequence[str], offered: Sequence[str]) -> list[str]:
    """The names that `--part` gives, with commas or blanks between them, in the order in which they are measured."""
    names = [name for text in asked for name in text.replace(",", " ").split()]
    for name in names:
        if name not in offered:
            raise UserError(f"unknown part '{name}'. Allowed: {', '.join(offered)}.")
    return [name for name in offered if name in names]


def to_measure(asked: Sequence[str], offered: Sequence[str], complete: Sequence[str]) -> list[str]:
    """The parts to measure now: those asked for, else those that are not complete, else all.

    >>> to_measure([], ["a", "b"], ["a"]), to_measure([], ["a", "b"], ["a", "b"]), to_measure(["a"], ["a", "b"], ["a"])
    (['b'], ['a', 'b'], ['a'])
    """
    return list(asked) or [name for name in offered if name not in complete] or list(offered)


def function_of(name: str) -> Callable[[Machine], Iterator[Measured]]:
    """The function that measures a part; ModuleNotFoundError if a library that it needs is missing."""
    function: Callable[[Machine], Iterator[Measured]]
    function = getattr(importlib.import_module(f"mcr_bench.bench.perf.parts.{name}"), name)
    return function


def measure(name: str, here: Machine, origin: Origin, tell: Callable[[Measured], None]) -> Part:
    """Measure a part, and tell of each number as it comes; whatever goes wrong becomes the reason why it is missing."""
    values: list[Measured] = []
    began, missing, failed = time.perf_counter(), "", False
    try:
        for one in function_of(name)(here):
            values.append(one)
            tell(one)
    except ModuleNotFoundError as error:
        failed = (error.name or "").startswith("mcr_bench")
        missing = in_words(error) if failed else f"{error.name} is not installed"
    except Exception as error:  # of any type: the other parts are still measured
        missing, failed = in_words(error), True
    gc.collect()
    with suppress(RuntimeError):  # after some errors nothing works on the GPU any more
        devices.release(here.device)
    taken = round(time.perf_counter() - began, 1)
    return Part(name, origin, date.today().isoformat(), taken, values, missing, failed)


def run(device: str, asked: Sequence[str], work: Path, docs: Path) -> int:
    """Measure and print; returns the exit code: 0, or 1 if a part has failed. UserError for a wrong device or part."""
    place = devices.devices(device, 1)[0]
    offered = parts_of(place.partition(":")[0])
    wished = chosen_parts(asked, offered)
    here = machine(place)
    origin = origin_of(here)
    kept, others = saved(origin, work, offered)
    say(f"{origin.name} ({origin.device}), PyTorch {origin.torch}, Python {origin.python}")
    if others:
        say(f"not used, as they were measured with another device, commit or version: {', '.join(others)}")
    for name in to_measure(wished, offered, [name for name, part in kept.items() if not part.failed]):
        say(f"\n{name}")
        kept[name] = measure(name, here, origin, lambda one: say(line(here.kind, one)))
        save(kept[name], work)
        say(ended(kept[name]))
    return finish(here, offered, kept, docs)


def finish(here: Machine, offered: Sequence[str], kept: dict[str, Part], docs: Path) -> int:
    """Print what is missing, or write the page if every part was measured; returns the exit code."""
    left = [name for name in offered if name not in kept]
    if left:
        say(f"\nNot yet measured: {', '.join(left)}. The same command without PART measures them and writes the page.")
    else:
        say(f"\nWritten: {write_page(here.kind, [kept[name] for name in offered], docs)}")
    return int(any(part.failed for part in kept.values()))


def line(kind: str, one: Measured) -> str:
    """A number as it is printed: its title, value, rounds, and what is wanted."""
    rounds = "" if one.low == one.high else f"(rounds {shown(one.low, one.unit)} to {shown(one.high, one.unit)})"
    most = limit(kind, one)
    return (
        f"  {one.title:55s} {shown(one.value, one.unit):>12s}  {f'wanted {most}' if most else '':18s} {rounds}".rstrip()
    )


def ended(part: Part) -> str:
    """How a part ended, as it is printed."""
    if part.failed:
        return f"  failed: {part.name}: {part.missing}"
    return f"  left out: {part.name}: {part.missing}" if part.missing else f"  ({part.seconds:.0f} s)"


def say(text: str) -> None:
    """Print a line at once."""
    print(printable(text), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and measure; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make perf", description=__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--part", nargs="*", default=[], help="names of parts; by default those not yet measured")
    parser.add_argument("--work", type=Path, default=Path(".perf"), help="the folder of results, one file per part")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="the folder of performance.md")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)  # as in a worker that trains
    try:
        return run(chosen.device, chosen.part, chosen.work, chosen.docs)
    except UserError as error:
        say(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        say("\nStopped. The parts that were measured are kept; the same command continues.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
