"""`make test-gpu`: makes the checks that need a GPU, prints a line for each, and exits with 1 if one has failed."""

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from mcr_bench.bench.core import device as devices
from mcr_bench.bench.errors import UserError
from mcr_bench.tests.gpu import comparisons, numbers, resuming, sharing, steps, zeros
from mcr_bench.tests.gpu.checks import Check, Place, carry_out, names_of

# Part -> the name of each of its checks -> the check.
PARTS: dict[str, dict[str, Check]] = {
    "steps": {
        "no step waits for the device": steps.no_waiting,
        "batches are equal wherever samples lie": steps.batches,
        "AGM's passes on zeros are those of their graph": zeros.graph_of_zeros,
    },
    "numbers": {"results agree with the CPU's": numbers.agreement},
    "sharing": {
        "two runs at once": sharing.together,
        "out of memory, tried again alone": sharing.out_of_memory,
        "too large for the GPU": sharing.too_large,
    },
    "resuming": {"killed and continued": resuming.killed},
    "precision": {
        "bf16": comparisons.bf16,
        "tf32": comparisons.tf32,
    },
    "comparisons": {
        "all methods on generated vectors": comparisons.synthetic,
        "all methods on a file of arrays, deterministic": comparisons.arrays,
    },
    "compiling": {"a compiled encoder": numbers.compiled},  # last, as the compiler takes longest
}


def run(device: str, asked: str, small: bool = False) -> int:
    """Make the checks of the parts asked for; returns 1 if one failed, else 0."""
    place, failed, began = devices.devices(device, 1)[0], 0, time.monotonic()
    names = list(names_of(asked, PARTS))
    say(f"{devices.description(devices.ready(place))} ({place}), PyTorch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        for part in names:
            for number, (name, check) in enumerate(PARTS[part].items()):
                started = time.monotonic()
                result, trace = carry_out(
                    f"{part}: {name}", check, Place(place, Path(folder) / f"{part}{number}", small)
                )
                say(f"{result} ({time.monotonic() - started:.1f} s)")
                if trace:
                    print(trace, file=sys.stderr, flush=True)
                failed += result.verdict == "FAIL"
                gc.collect()
                with suppress(RuntimeError):  # after some errors nothing works on the GPU any more
                    devices.release(torch.device(place))
    say(f"{failed} failed; {time.monotonic() - began:.0f} s")
    return int(failed > 0)


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line; returns the exit code: 0 where there is no GPU and no other device is asked for."""
    parser = argparse.ArgumentParser(prog="make test-gpu", description=__doc__)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu to try the checks themselves")
    parser.add_argument("--part", default="", help=f"some of: {', '.join(PARTS)}")
    parser.add_argument("--small", action="store_true", help="train less")
    chosen = parser.parse_args(arguments)
    try:
        names_of(chosen.part, PARTS)
    except ValueError as error:
        say(f"error: {error}")
        return 2
    if chosen.device.startswith(("auto", "cuda")) and not devices.gpu_count():
        say("There is no GPU that PyTorch can use, so nothing is checked.")
        return 0
    try:
        return run(chosen.device, chosen.part, chosen.small)
    except (UserError, ValueError) as error:
        say(f"error: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main())
