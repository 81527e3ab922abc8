"""The raw folder of CMU-MOSI and CMU-MOSEI, in either published format, and how a segment becomes a row of a cache."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.cache.recipe import Clip, Field, Scan, Settings
from mcr_bench.datasets.formats.csd import open_csd, read_labels, require_aligned
from mcr_bench.datasets.formats.multibench import PARTS, read_multibench, samples_by_id
from mcr_bench.datasets.media.decode import Unusable

MODALITIES = ("text", "audio", "video")
HIGHEST = 3.0  # scores are from -3 to 3
LIST = "standard_parts.json"
FOLDS = "standard_folds.json"
AGAIN = "The file is damaged: download it again."
# Words in the names of sequences, as the recipes and examples of the SDK name them.
WORDS = {
    "labels": ("label",),
    "text": ("wordvector", "glove", "bert", "text", "language"),
    "audio": ("covarep", "opensmile", "audio", "acoustic"),
    "video": ("facet", "openface", "visual", "vision", "video"),
}


def layout(pickle: str) -> str:
    """The folder tree in words. pickle: the name of MultiBench's file."""
    return (
        f"SOURCE/\n  {pickle}   the pickle of MultiBench\nor\nSOURCE/\n"
        "  *Labels*.csd        sentiment (*label* in the name)\n"
        "  *.csd               text (*WordVectors*, *glove*, *text*), audio (*COVAREP*, *audio*) and\n"
        "                      video (*Facet*, *OpenFace*, *visual*), aligned to the labels by the CMU SDK\n"
        f"  {FOLDS}  the SDK's folds: {{train, valid, test}} of videos (or --splits FILE)"
    )


def fields(steps: int, channels: Mapping[str, int]) -> dict[str, Field]:
    """One padded array (steps, channels) per modality. channels: modality -> features per step.

    >>> fields(50, {"text": 300, "audio": 5, "video": 20})["audio"].shape
    (50, 5)
    """
    return {m: Field((steps, channels[m]), "float32", padded=True) for m in MODALITIES}


def scan(source: Path, splits: Sequence[Path], pickle: str, channels: Mapping[str, int]) -> Scan:
    """The segments of a folder in the order of ids; UserError if it has neither of the two formats, or both.

    pickle: the name of MultiBench's file. channels: modality -> the expected features per step.
    """
    path = source / pickle
    sequences = sorted(p for p in source.iterdir() if p.suffix.lower() == ".csd") if source.is_dir() else []
    if path.is_file() and sequences:
        raise UserError(f"'{source}' has both '{pickle}' and .csd files. Keep only one of the two in the folder.")
    if path.is_file():
        if splits:
            raise UserError(f"'{path}' has its own parts train, valid and test. Leave out --splits.")
        scan = _scan_pickle(path, channels)
    elif sequences:
        scan = _scan_csd(source, sequences, splits, channels)
    else:
        raise _neither(source, pickle)
    scan.clips.sort(key=lambda clip: clip.id)
    return scan


def _neither(source: Path, pickle: str) -> UserError:
    others = sorted(p.name for p in source.glob("*.pkl")) if source.is_dir() else []
    rename = f" It has {', '.join(others)}: rename the pickle to '{pickle}'." if others else ""
    return UserError(f"'{source}' has neither '{pickle}' nor .csd files.{rename} Expected:\n{layout(pickle)}")


def decode(clip: Clip, settings: Settings) -> dict[str, Array]:
    """Modality -> (T, C) float32 from the first step with text, cut to `steps`; `Unusable` with the reason.

    As in MultiBench's loader, samples without text are dropped, and leading steps without text are removed from all
    modalities.
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
        silent = modality == "audio" and np.isneginf(x[bad]).all()
        remedy = " (dataset.silence=zero replaces them by 0)" if silent else ""
        values = ", ".join(sorted({str(v) for v in x[bad]}))
        raise Unusable(f"{modality} has {int(bad.sum())} values that are {values}{remedy}")


def _read(clip: Clip) -> Mapping[str, Array]:
    """Modality -> (T, C) numbers of a segment, as they are in its file."""
    if "pickle" in clip.files:
        return samples_by_id(clip.files["pickle"])[clip.id].values
    try:
        return {m: open_csd(clip.files[m]).features(clip.id) for m in MODALITIES}
    except UserError as error:
        raise Unusable(str(error)) from error


def _scan_pickle(path: Path, channels: Mapping[str, int]) -> Scan:
    scan = Scan([])
    parts: dict[str, str] = {}
    for sample in read_multibench(path):
        if sample.id in parts:
            scan.problems.append((f"{sample.id} in {sample.part}", f"the same id is already in {parts[sample.id]}"))
            continue
        _require_score(path, sample.id, sample.score)
        parts[sample.id] = sample.part
        scan.clips.append(Clip(sample.id, sample.score, sample.video, {"pickle": path}))
        _require_channels(path, channels, {m: x.shape[1] for m, x in sample.values.items()})
    scan.lists[LIST] = _listed(parts)
    return scan


def _scan_csd(source: Path, paths: list[Path], splits: Sequence[Path], channels: Mapping[str, int]) -> Scan:
    files = _by_role(source, paths)
    opened = {m: open_csd(files[m]) for m in MODALITIES}
    labels = open_csd(files["labels"])
    content, folds = _read_folds(source, splits)
    segments = {segment.name: segment for segment in read_labels(labels)}
    scan = Scan([], require_aligned(opened, segments.values()))
    left_out = {name for name, _ in scan.problems}
    parts: dict[str, str] = {}
    for name, segment in segments.items():
        if name in left_out:
            continue
        if segment.video not in folds:
            scan.problems.append((name, f"its video is in no fold of {FOLDS}"))
            continue
        _require_score(labels.path, name, segment.score)
        parts[name] = folds[segment.video]
        scan.clips.append(Clip(name, segment.score, segment.video, files, segment.interval))
    _require_channels(source, channels, {m: file.channels() for m, file in opened.items()})
    scan.lists[LIST] = _listed(parts)
    scan.lists[FOLDS] = content
    return scan


def _by_role(source: Path, paths: list[Path]) -> dict[str, Path]:
    """labels, text, audio, video -> file, recognised by their names; other files are ignored."""
    roles: dict[str, Path] = {}
    for path in paths:
        stem = path.stem.lower().replace("_", "")
        role = next((role for role, words in WORDS.items() if any(word in stem for word in words)), None)
        if role is None:
            continue
        if role in roles:
            raise UserError(
                f"'{roles[role].name}' and '{path.name}' in '{source}' are both {role}. Keep only one of them."
            )
        roles[role] = path
    missing = [role for role in WORDS if role not in roles]
    if missing:
        names = "; ".join(f"{role}: *{'*, *'.join(WORDS[role])}*" for role in missing)
        raise UserError(
            f"'{source}' has no .csd file of {' or '.join(missing)}. Files are recognised by their names: {names}."
        )
    return roles


def _read_folds(source: Path, splits: Sequence[Path]) -> tuple[bytes, dict[str, str]]:
    """The list as it is, and video -> part; UserError if it is missing or damaged, or has a video in two parts."""
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
        raise UserError(
            f"'{path}' is not {{train, valid, test}} of videos in JSON ({error!r}). Use the list of the SDK."
        ) from error
    folds = dict(pairs)
    for video, part in pairs:
        if folds[video] != part:
            raise UserError(
                f"'{path}': video '{video}' is in {part} and in {folds[video]}. Keep each video in one part only."
            )
    return content, folds


def _require_score(path: Path, name: str, score: float) -> None:
    if not math.isfinite(score) or abs(score) > HIGHEST:
        raise UserError(f"'{path}': the sentiment of '{name}' is {score:g}; allowed: -3 to 3. {AGAIN}")


def _require_channels(path: Path, wanted: Mapping[str, int], actual: Mapping[str, int]) -> None:
    if dict(wanted) != dict(actual):
        settings = " ".join(f"--set dataset.{m}_channels={actual[m]}" for m in MODALITIES if actual[m] != wanted[m])
        raise UserError(
            f"'{path}' has other features than expected: {_sizes(actual)} channels instead of {_sizes(wanted)}. "
            f"To use these features, give their sizes here and to `run`: {settings}."
        )


def _sizes(channels: Mapping[str, int]) -> str:
    return ", ".join(f"{m} {channels[m]}" for m in MODALITIES)


def _listed(parts: Mapping[str, str]) -> bytes:
    """Id -> part as the list that a cache keeps: JSON of part -> sorted ids."""
    listed: dict[str, list[str]] = {part: [] for part in PARTS.values()}
    for name in sorted(parts):
        listed[parts[name]].append(name)
    return json.dumps(listed).encode()


def read_parts(content: bytes) -> dict[str, str]:
    """Id -> part, from the list that a cache keeps.

    >>> read_parts(b'{"train": ["a[0]"], "val": [], "test": ["b[0]"]}')
    {'a[0]': 'train', 'b[0]': 'test'}
    """
    return {name: part for part, names in json.loads(content).items() for name in names}


def videos_of(content: bytes) -> list[str]:
    """The videos in the SDK's folds.

    >>> videos_of(b'{"train": ["x", "y"], "valid": ["z"], "test": []}')
    ['x', 'y', 'z']
    """
    return [str(video) for name, videos in json.loads(content).items() if name in PARTS for video in videos]
