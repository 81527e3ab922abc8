"""The results of `make perf` on disk: one file per part, so that a run that was interrupted can be continued."""

import hashlib
import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import mcr_bench
from mcr_bench.bench.core import device as devices
from mcr_bench.bench.core.files import write_whole
from mcr_bench.bench.perf.measured import Machine, Measured
from mcr_bench.bench.record.provenance import commit

ROOT = Path(mcr_bench.__file__).resolve().parent


@dataclass(frozen=True)
class Origin:
    """What the parts of one run have in common; parts of another origin are not mixed with them.

    device: the device, `cpu` or `cuda:N`.
    name: the name of the GPU, or of the processor.
    cores: the number of the machine's cores.
    torch: the version of PyTorch.
    python: the version of Python.
    commit: the commit of the checkout; empty where there is none.
    code: a digest of the Python files that are measured.
    """

    device: str
    name: str
    cores: int
    torch: str
    python: str
    commit: str
    code: str


@dataclass(frozen=True)
class Part:
    """What one part of `make perf` gave.

    name: the part.
    origin: where and with what it was measured.
    date: the day, YYYY-MM-DD.
    seconds: the time that measuring took.
    values: the numbers.
    missing: why the part, or the rest of it, is missing; empty if it is complete.
    failed: whether it is missing because of an error.
    """

    name: str
    origin: Origin
    date: str
    seconds: float
    values: list[Measured] = field(default_factory=list)
    missing: str = ""
    failed: bool = False


def origin_of(machine: Machine) -> Origin:
    """The origin of what is measured now."""
    name = devices.description(machine.device) if machine.kind != "cpu" else processor()
    return Origin(
        device=machine.place,
        name=name,
        cores=os.cpu_count() or 1,
        torch=version("torch"),
        python=platform.python_version(),
        commit=commit().removesuffix("+changes"),
        code=code_digest(ROOT),
    )


def processor() -> str:
    """The name of the processor, as Linux gives it; elsewhere its architecture."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def code_digest(root: Path) -> str:
    """A digest of the Python files of bench/, methods/ and datasets/: changes that are in no commit count too."""
    digest = hashlib.sha256()
    for path in sorted(path for room in ("bench", "methods", "datasets") for path in (root / room).rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def save(part: Part, folder: Path) -> Path:
    """Write a part to its file in `folder`; returns the file."""
    path = folder / part.origin.device.replace(":", "-") / f"{part.name}.json"
    write_whole(path, json.dumps(asdict(part), indent=1) + "\n")
    return path


def saved(origin: Origin, folder: Path, names: Iterable[str]) -> tuple[dict[str, Part], list[str]]:
    """Name -> part of those `names` that are in `folder` with this origin, and the names of those with another one."""
    parts, others = {}, []
    for name in names:
        path = folder / origin.device.replace(":", "-") / f"{name}.json"
        if not path.exists():
            continue
        try:
            part = part_of(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError, KeyError):
            part = None
        if part is not None and part.origin == origin:
            parts[name] = part
        else:
            others.append(name)
    return parts, others


def part_of(content: dict[str, object]) -> Part:
    """A part from its JSON; ValueError, TypeError or KeyError if it is not one."""
    values, origin = content["values"], content["origin"]
    if not isinstance(values, list) or not isinstance(origin, dict):
        raise TypeError("values must be a list, and origin an object")
    rest = {key: value for key, value in content.items() if key not in ("values", "origin")}
    return Part(origin=Origin(**origin), values=[Measured(**value) for value in values], **rest)  # type: ignore[arg-type]
