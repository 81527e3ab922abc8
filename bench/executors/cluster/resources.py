"""What a user asks one run to take of a cluster: `--resources`, `--device` and `--runs-per-gpu`."""

import math
from collections.abc import Mapping

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.executors.cluster.share import Share
from mcr_bench.bench.executors.pool import check_sharing

FINEST = 10_000  # Ray counts shares of a GPU in ten-thousandths
EXAMPLE = "Example: --resources cpu=2,gpu=0.5."


def parse_resources(text: str) -> dict[str, float]:
    """`cpu=2,gpu=0.5` by name; UserError for anything else."""
    given: dict[str, float] = {}
    for part in text.split(","):
        name, _, amount = (piece.strip() for piece in part.partition("="))
        if name not in ("cpu", "gpu"):
            raise UserError(f"--resources {text}: '{name}' is unknown; cpu and gpu can be given. {EXAMPLE}")
        if name in given:
            raise UserError(f"--resources {text}: {name} is given twice. {EXAMPLE}")
        given[name] = _amount(text, name, amount)
    return given


def share_of(device: str, resources: Mapping[str, float] | None, runs_per_gpu: int | None) -> Share:
    """What one run takes, from `--device`, `--resources` and `--runs-per-gpu`; UserError if they contradict."""
    given = dict(resources or {})
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device {device}: on a cluster Ray deals out GPUs. Use --device auto, cpu or cuda.")
    if runs_per_gpu is not None:
        check_sharing(device, runs_per_gpu)
        if "gpu" in given:
            raise UserError("--resources gpu=... and --runs-per-gpu say the same. Give one of them.")
        given["gpu"] = math.floor(FINEST / runs_per_gpu) / FINEST
    gpu = given.get("gpu", {"cpu": 0.0, "cuda": 1.0}.get(device))
    if (device == "cpu" and gpu) or (device == "cuda" and gpu == 0):
        raise UserError(f"--device {device} contradicts --resources gpu={gpu:g}. Leave one of them out.")
    return Share(given.get("cpu", 1.0), gpu)


def _amount(text: str, name: str, amount: str) -> float:
    try:
        value = float(amount)
    except ValueError:
        value = math.nan
    if name == "cpu" and not 0 < value < math.inf:
        raise UserError(f"--resources {text}: cpu is a number of cores above 0. {EXAMPLE}")
    if name == "gpu" and not (value == 0 or 1 / FINEST <= value <= 1):
        raise UserError(f"--resources {text}: gpu is a share of one GPU, from 0 to 1, as a run uses one. {EXAMPLE}")
    return value
