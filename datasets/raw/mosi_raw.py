"""The raw folder of CMU-MOSI and CMU-MOSEI, in either published form, and how a segment becomes rows."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.cache.recipe import Clip, Field, Scan
from mcr_bench.datasets.formats.csd import open_csd, read_labels, require_aligned
from mcr_bench.datasets.formats.multibench import PARTS, read_multibench, samples_by_id
from mcr_bench.datasets.media.decode import Unusable

MODALITIES = ("text", "audio", "video")
HIGHEST = 3.0
LIST = "standard_parts.json"
FOLDS = "standard_folds.json"
# What the names of sequences hold, in the SDK's recipes and in the names that its examples deploy them under.
WORDS = {
    "labels": ("label",),
    "text": ("wordvector", "glove", "bert", "text", "language"),
    "audio": ("covarep", "opensmile", "audio", "acoustic"),
    "video": ("facet", "openface", "visual", "vision", "video"),
}


def layout(pickle: str) -> str:
    """The folder tree in words."""
    return (
        f"SOURCE/\n  {pickle}   the pickle of MultiBench\nor\nSOURCE/\n"
        "  *Labels*.csd        sentiment (*label* in the name)\n"
        "  *.csd               text (*WordVectors*, *glove*, *text*), audio (*COVAREP*, *audio*) and\n"
        "                      video (*Facet*, *OpenFace*, *visual*), aligned to the labels by the CMU SDK\n"
        f"  {FOLDS}  the SDK's folds: {{train, valid, test}} of videos (or --splits FILE)"
    )


def fields(steps: int, channels: Mapping[str, int]) -> dict[str, Field]:
    """One padded array (steps, channels) per modality."""
    return {m: Field((steps, channels[m]), "float32", padded=True) for m in MODALITIES}


def scan(source: Path, splits: Sequence[Path], pickle: str, channels: Mapping[str, int]) -> Scan:
    """The segments of a folder in the order of ids. UserError where it is neither form, or both."""
    path = source / pickle
    sequences = sorted(p for p in source.iterdir() if p.suffix.lower() == ".csd") if source.is_dir() else []
    if path.is_file() and sequences:
        raise UserError(f"'{source}' has '{pickle}' and .csd files. Leave one form in the folder.")
    if path.is_file():
        if splits:
            raise UserError(f"'{path}' brings its own train, valid and test. Leave out --splits.")
        found = _scan_pickle(path, channels)
    elif sequences:
        found = _scan_csd(source, sequences, splits, channels)
    else:
        others = sorted(p.name for p in source.glob("*.pkl")) if source.is_dir() else []
        held = f" It holds {', '.join(others)}: a pickle is read under the name '{pickle}'." if others else ""
        raise UserError(f"'{source}' holds neither '{pickle}' nor .csd files.{held} Expected:\n{layout(pickle)}")
    found.clips.sort(key=lambda clip: clip.id)
    return found


def decode(clip: Clip, settings: Mapping[str, Any]) -> dict[str, Array]:
    """Modality -> (T, C) float32 from the first step that has text, cut to `steps`; `Unusable` with the reason.

    As MultiBench's loader: samples without text are dropped, leading steps without text are stripped from all.
    """
    values = _read(clip)
    if len({len(x) for x in values.values()}) > 1:
        steps = ", ".join(f"{m} {len(x)}" for m, x in values.items())
        raise Unusable(f"its modalities are not aligned: they have different numbers of steps ({steps})")
    spoken = np.flatnonzero(values["text"].any(axis=1))
    if not len(spoken):
        raise Unusable("no text: all of its steps are zero")
    rows = {}
    for m in MODALITIES:
        with np.errstate(over="ignore"):
            x = values[m][spoken[0] :][: settings["steps"]].astype(np.float32)
        if m == "audio" and settings["silence"] == "zero":
            x[np.isneginf(x)] = 0
        _require_finite(x, m)
        rows[m] = x
    return rows


def _require_finite(x: Array, modality: str) -> None:
    bad = ~np.isfinite(x)
    if bad.any():
        remedy = " (dataset.silence=zero replaces it)" if modality == "audio" and np.isneginf(x[bad]).all() else ""
        values = ", ".join(sorted({str(v) for v in x[bad]}))
        raise Unusable(f"{modality} has {int(bad.sum())} values that are {values}{remedy}")


def _read(clip: Clip) -> Mapping[str, Array]:
    if "pickle" in clip.files:
        return samples_by_id(clip.files["pickle"])[clip.id].values
    try:
        return {m: open_csd(clip.files[m]).features(clip.id) for m in MODALITIES}
    except UserError as error:
        raise Unusable(str(error)) from error


def _scan_pickle(path: Path, channels: Mapping[str, int]) -> Scan:
    found = Scan([])
    parts: dict[str, str] = {}
    for sample in read_multibench(path):
        if sample.id in parts:
            found.problems.append((f"{sample.id} in {sample.part}", f"the same id is in {parts[sample.id]} before"))
            continue
        _require_score(path, sample.id, sample.score)
        parts[sample.id] = sample.part
        found.clips.append(Clip(sample.id, sample.score, sample.video, {"pickle": path}))
        _require_channels(path, channels, {m: x.shape[1] for m, x in sample.values.items()})
    found.lists[LIST] = _listed(parts)
    return found


def _scan_csd(source: Path, paths: list[Path], splits: Sequence[Path], channels: Mapping[str, int]) -> Scan:
    files = _by_role(source, paths)
    opened = {m: open_csd(files[m]) for m in MODALITIES}
    labels = open_csd(files["labels"])
    content, folds = _read_folds(source, splits)
    segments = {segment.name: segment for segment in read_labels(labels)}
    found = Scan([], require_aligned(opened, segments.values()))
    left_out = {name for name, _ in found.problems}
    parts: dict[str, str] = {}
    for name, segment in segments.items():
        if name in left_out:
            continue
        if segment.video not in folds:
            found.problems.append((name, f"its video is in no fold of {FOLDS}"))
            continue
        _require_score(labels.path, name, segment.score)
        parts[name] = folds[segment.video]
        found.clips.append(Clip(name, segment.score, segment.video, files, segment.interval))
    _require_channels(source, channels, {m: file.channels() for m, file in opened.items()})
    found.lists[LIST] = _listed(parts)
    found.lists[FOLDS] = content
    return found


def _by_role(source: Path, paths: list[Path]) -> dict[str, Path]:
    """Labels, text, audio, video -> file, by their names."""
    roles: dict[str, Path] = {}
    for path in paths:
        stem = path.stem.lower().replace("_", "")
        role = next((role for role, words in WORDS.items() if any(word in stem for word in words)), None)
        if role is None:
            continue
        if role in roles:
            raise UserError(f"'{roles[role].name}' and '{path.name}' in '{source}' are both {role}. Leave one of them.")
        roles[role] = path
    absent = [role for role in WORDS if role not in roles]
    if absent:
        known = "; ".join(f"{role}: *{'*, *'.join(WORDS[role])}*" for role in absent)
        raise UserError(f"'{source}' has no .csd file of {' or '.join(absent)}. It is known by its name: {known}.")
    return roles


def _read_folds(source: Path, splits: Sequence[Path]) -> tuple[bytes, dict[str, str]]:
    """The list as it is, and video -> part; UserError where it is missing, is no such list, or has a video twice."""
    path = splits[0] if splits else source / FOLDS
    if len(splits) > 1 or not path.is_file():
        raise UserError(
            f"one list of folds is needed: '{source / FOLDS}' or --splits FILE, "
            "{train, valid, test} of videos in JSON. The CMU Multimodal SDK publishes it as `standard_folds`."
        )
    try:
        content = path.read_bytes()
        listed = json.loads(content)
        pairs = [(str(video), part) for name, part in PARTS.items() for video in listed[name]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"'{path}' is no {{train, valid, test}} of videos in JSON ({error!r}).") from error
    folds = dict(pairs)
    for video, part in pairs:
        if folds[video] != part:
            raise UserError(f"'{path}': video '{video}' is in {part} and in {folds[video]}. Each may be in one only.")
    return content, folds


def _require_score(path: Path, name: str, score: float) -> None:
    if not math.isfinite(score) or abs(score) > HIGHEST:
        raise UserError(f"'{path}': the sentiment of '{name}' is {score:g}; allowed: -3 to 3. The file is damaged.")


def _require_channels(path: Path, wanted: Mapping[str, int], found: Mapping[str, int]) -> None:
    if dict(wanted) != dict(found):
        dials = " ".join(f"--set dataset.{m}_channels={found[m]}" for m in MODALITIES if found[m] != wanted[m])
        raise UserError(
            f"'{path}' has other features than expected: {_sizes(found)} channels instead of {_sizes(wanted)}. "
            f"If they are meant, say so here and in runs: {dials}."
        )


def _sizes(channels: Mapping[str, int]) -> str:
    return ", ".join(f"{m} {channels[m]}" for m in MODALITIES)


def _listed(parts: Mapping[str, str]) -> bytes:
    listed: dict[str, list[str]] = {part: [] for part in PARTS.values()}
    for name in sorted(parts):
        listed[parts[name]].append(name)
    return json.dumps(listed).encode()


def read_parts(content: bytes) -> dict[str, str]:
    """Id -> part, from the list that a cache keeps."""
    return {name: part for part, names in json.loads(content).items() for name in names}


def videos_of(content: bytes) -> list[str]:
    """The videos that the SDK's folds name."""
    return [str(video) for name, videos in json.loads(content).items() if name in PARTS for video in videos]
