"""The raw folder of CMU-MOSI and CMU-MOSEI: a pickle in either form, or the sequences of the CMU SDK."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.inputs.texts import json_of
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.cache.recipe import Clip, Scan, Settings
from mcr_bench.datasets.formats.csd import open_csd, read_labels, require_aligned
from mcr_bench.datasets.media.decode import Unusable
from mcr_bench.datasets.raw.lists import read_content
from mcr_bench.datasets.sequences import rows
from mcr_bench.datasets.sequences.pickles import LIST, listed, no_pickle, pickle_in, require_channels, scan_pickle
from mcr_bench.datasets.sequences.segment import AGAIN, MODALITIES, PARTS, Sample

HIGHEST = 3.0  # scores are from -3 to 3
FOLDS = "standard_folds.json"
MMSA = ("aligned_50.pkl", "unaligned_50.pkl")
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
        f"SOURCE/\n  {pickle}   the pickle of MultiBench, or {' or '.join(MMSA)} of MMSA\nor\nSOURCE/\n"
        "  *Labels*.csd        sentiment (*label* in the name)\n"
        "  *.csd               text (*WordVectors*, *glove*, *text*), audio (*COVAREP*, *audio*) and\n"
        "                      video (*Facet*, *OpenFace*, *visual*), aligned to the labels by the CMU SDK\n"
        f"  {FOLDS}  the SDK's folds: {{train, valid, test}} of videos (or --splits FILE)"
    )


def scan(
    source: Path,
    splits: Sequence[Path],
    pickle: str,
    channels: Mapping[str, int],
    steps: Mapping[str, int],
) -> Scan:
    """The segments of a folder in the order of ids; UserError if it has neither of the two formats, or both.

    pickle: the name of MultiBench's file. channels: modality -> the expected features per step. steps: as of
    `scan_pickle`.
    """
    path = pickle_in(source, (pickle, *MMSA))
    sequences = (
        sorted(p for p in source.iterdir() if p.suffix.lower() == ".csd" and not p.name.startswith("."))
        if source.is_dir()
        else []
    )
    if path and sequences:
        raise UserError(f"'{source}' has both '{path.name}' and .csd files. Keep only one of the two in the folder.")
    if path:
        if splits:
            raise UserError(f"'{path}' has its own parts train, valid and test. Leave out --splits.")
        scan = scan_pickle(path, channels, steps, sentiment)
    elif sequences:
        scan = _scan_csd(source, sequences, splits, channels)
    else:
        raise no_pickle(source, (pickle, *MMSA), layout(pickle), ".csd files")
    scan.clips.sort(key=lambda clip: clip.id)
    return scan


def decode(clip: Clip, settings: Settings) -> dict[str, Array]:
    """Modality -> (T, C) float32 as `rows.decode` gives it, of a pickle or of sequences; `Unusable` with the reason."""
    if "pickle" in clip.files:
        return rows.decode(clip, settings)
    try:
        values = {m: open_csd(clip.files[m]).features(clip.id) for m in MODALITIES}
    except UserError as error:
        raise Unusable(str(error)) from error
    return rows.rows_of(values, True, settings)


def sentiment(path: Path, sample: Sample) -> float:
    """The score of a sample from -3 to 3; UserError for any other."""
    if len(sample.labels) > 1:
        raise UserError(f"'{path}': '{sample.id}' has {len(sample.labels)} labels. Needed: one score each, (n, 1, 1).")
    _require_score(path, sample.id, sample.labels[0])
    return sample.labels[0]


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
    require_channels(source, channels, {m: file.channels() for m, file in opened.items()})
    scan.lists[LIST] = listed(parts)
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
        content = read_content(path)
        listed = json_of(content)
        pairs = [(str(video), part) for name, part in PARTS.items() for video in listed[name]]
    except (ValueError, KeyError, TypeError) as error:
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


def videos_of(content: bytes) -> list[str]:
    """The videos in the SDK's folds.

    >>> videos_of(b'{"train": ["x", "y"], "valid": ["z"], "test": []}')
    ['x', 'y', 'z']
    """
    return [str(video) for name, videos in json.loads(content).items() if name in PARTS for video in videos]
