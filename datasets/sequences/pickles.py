"""The pickle of a raw folder: found by its names, read in either form, and its samples as clips."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.printable import in_line
from mcr_bench.datasets.cache.recipe import Clip, Scan
from mcr_bench.datasets.formats.opened import opened_once
from mcr_bench.datasets.formats.unpickle import read_pickle
from mcr_bench.datasets.sequences import mmsa, multibench
from mcr_bench.datasets.sequences.dialects import dialect_of
from mcr_bench.datasets.sequences.segment import MODALITIES, PARTS, Sample

LIST = "standard_parts.json"
Label = Callable[[Path, Sample], float]  # the label of a clip; UserError that names file and sample if it is wrong


@opened_once
def read_samples(path: Path) -> list[Sample]:
    """The samples of a pickle in the order of the file; UserError that names part and key if it has another form."""
    content = read_pickle(path)
    if foreign := dialect_of(content):
        keys = ", ".join(foreign.keys)
        raise UserError(f"'{path}' has the format of {foreign.name} ({keys}), not of MultiBench. {foreign.remedy}")
    if not isinstance(content, dict) or not all(isinstance(content.get(name), dict) for name in PARTS):
        held = in_line(", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__)
        raise UserError(
            f"'{path}' holds {held[:200]}. Expected a dict of {multibench.FORM}. Use the pickle of MultiBench or MMSA."
        )
    return mmsa.samples_of(path, content) if mmsa.is_mmsa(content) else multibench.samples_of(path, content)


@opened_once
def samples_by_id(path: Path) -> dict[str, Sample]:
    """Id -> the first sample with this id; also name -> sample, of names that differ from ids."""
    samples = [*reversed(read_samples(path))]
    return {sample.name: sample for sample in samples} | {sample.id: sample for sample in samples}


def pickle_in(source: Path, allowed: Sequence[str]) -> Path | None:
    """The pickle of a folder, None without one; UserError if it is not clear which of two is meant.

    allowed: the names that it may have.
    """
    present = [source / name for name in allowed if (source / name).is_file()]
    if len(present) > 1:
        others = " and ".join(f"'{path.name}'" for path in present)
        raise UserError(f"'{source}' has {others}, which are forms of the same data. Keep only one of them there.")
    return present[0] if present else None


def no_pickle(source: Path, allowed: Sequence[str], layout: str, beside: str = "") -> UserError:
    """The error for a folder without the pickle; it names other pickles that are there. beside: what else it lacks."""
    others = sorted(p.name for p in source.glob("*.pkl")) if source.is_dir() else []
    rename = f" It has {', '.join(others)}: rename the pickle to '{allowed[0]}'." if others else ""
    lacked = f"has neither '{allowed[0]}' nor {beside}" if beside else f"has no '{allowed[0]}'"
    return UserError(f"'{source}' {lacked}.{rename} Expected:\n{layout}")


def scan_pickle(
    path: Path, channels: Mapping[str, int], steps: Mapping[str, int], label: Label, videos: bool = True
) -> Scan:
    """The samples of a pickle as clips, in the order of the file, with the list of its parts.

    channels: modality -> the expected features per step. steps: modality -> the steps that are kept, 0 if the dials do
    not say. videos: whether the names of samples say which video each is part of; otherwise each is a group of its own.
    """
    scan = Scan([])
    parts: dict[str, str] = {}
    samples = read_samples(path)
    named = len({sample.name for sample in samples}) == len(samples)
    for sample in samples:
        id_ = sample.id if videos or not named else sample.name
        if id_ in parts:
            scan.problems.append((f"{id_} in {sample.part}", f"the same id is already in {parts[id_]}"))
            continue
        require_channels(path, channels, {m: x.shape[1] for m, x in sample.values.items()})
        _require_steps(path, sample, samples, steps)
        parts[id_] = sample.part
        scan.clips.append(Clip(id_, label(path, sample), sample.video if videos else id_, {"pickle": path}))
    scan.lists[LIST] = listed(parts)
    return scan


def require_channels(path: Path, wanted: Mapping[str, int], actual: Mapping[str, int]) -> None:
    """UserError with the dials to set if the features per step, by modality, are others than expected."""
    if dict(wanted) != dict(actual):
        settings = " ".join(f"--set dataset.{m}_channels={actual[m]}" for m in MODALITIES if actual[m] != wanted[m])
        raise UserError(
            f"'{path}' has other features than expected: {_sizes(actual)} channels instead of {_sizes(wanted)}. "
            f"To use these features, give their sizes here and to `run`: {settings}."
        )


def _require_steps(path: Path, sample: Sample, samples: Sequence[Sample], steps: Mapping[str, int]) -> None:
    """UserError with the dials to set if modalities have steps of their own, but the dials do not say how many."""
    if sample.aligned or all(steps.values()):
        return
    longest = {m: max(len(one.values[m]) for one in samples) for m in MODALITIES if not steps[m]}
    settings = " ".join(f"--set dataset.{m}_steps={count}" for m, count in longest.items())
    raise UserError(
        f"'{path}' is not aligned: each modality has steps of its own. Say here and to `run` how many to keep, such as "
        f"all: {settings}."
    )


def _sizes(channels: Mapping[str, int]) -> str:
    return ", ".join(f"{m} {channels[m]}" for m in MODALITIES)


def listed(parts: Mapping[str, str]) -> bytes:
    """Id -> part as the list that a cache keeps: JSON of part -> sorted ids."""
    ids: dict[str, list[str]] = {part: [] for part in PARTS.values()}
    for name in sorted(parts):
        ids[parts[name]].append(name)
    return json.dumps(ids).encode()


def read_parts(content: bytes) -> dict[str, str]:
    """Id -> part, from the list that a cache keeps.

    >>> read_parts(b'{"train": ["a[0]"], "val": [], "test": ["b[0]"]}')
    {'a[0]': 'train', 'b[0]': 'test'}
    """
    return {name: part for part, ids in json.loads(content).items() for name in ids}
