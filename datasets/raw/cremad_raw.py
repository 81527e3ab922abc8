"""The raw folder of CREMA-D: which clips are there, and how one becomes rows of a cache."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.cache.recipe import Clip, Field, Scan
from mcr_bench.datasets.raw import cremad_lists as lists
from mcr_bench.datasets.raw.lists import by_lower_name
from mcr_bench.datasets.raw.raw_files import AUDIO, VIDEO, MediaFiles, as_lines

LAYOUT = """DIR/
  VideoFlash/1001_DFA_ANG_XX.flv   (ACTOR_SENTENCE_EMOTION_LEVEL)
  AudioWAV/1001_DFA_ANG_XX.wav     (or AudioMP3/1001_DFA_ANG_XX.mp3; of both, the wav)
  splits.json                      (optional, for protocol vavl; any folder, or --splits FILE)
  train.csv, test.csv              (optional, for protocol ogm; the same)"""
LABELS = {emotion: at for at, emotion in enumerate(lists.EMOTIONS)}
FOLDERS = {"VideoFlash": (".flv", VIDEO), "AudioWAV": (".wav", AUDIO), "AudioMP3": (".mp3", AUDIO)}
VERSION = 1
SOUND = "of a clip in AudioWAV and in AudioMP3 the wav"
RATE = 22050
N_FFT, HOP = 512, 353


def scan(source: Path, splits: Sequence[Path]) -> Scan:
    """Every clip with video and sound, sorted by id; a .wav is preferred to an .mp3."""
    folders = {name: path for name, path in by_lower_name(source).items() if path.is_dir()}
    media = {name: MediaFiles(*kinds) for name, kinds in FOLDERS.items()}
    videos, waves, mp3s = (
        media[name].one_per_clip(folders[name.lower()]) if name.lower() in folders else {} for name in FOLDERS
    )
    sounds = mp3s | waves
    if not videos or not sounds:
        absent = "VideoFlash/*.flv" if not videos else "AudioWAV/*.wav and no AudioMP3/*.mp3"
        told = as_lines(note for name in FOLDERS for note in media[name].notes(name, ()))
        raise UserError(f"'{source}' has no {absent}.{told}\nExpected:\n{LAYOUT}")
    found = Scan([])
    found.lists = lists.read(source, splits, found.problems)
    for stem in sorted(videos.keys() | sounds.keys()):
        reason = _left_out(stem, videos, sounds)
        if reason:
            found.problems.append((stem, reason))
            continue
        files = {"video": videos[stem], "audio": sounds[stem]}
        found.clips.append(Clip(stem, LABELS[lists.emotion_of(stem)], stem.split("_")[0], files))
    if both := waves.keys() & mp3s.keys():
        found.problems.append(("AudioMP3", f"{len(both):,} of its clips are in AudioWAV too, whose files are used"))
    found.problems += _named_in_vain(found)
    used = [path for clip in found.clips for path in clip.files.values()]
    for name in FOLDERS:
        found.notes += media[name].notes(name, (path for path in used if path.parent.name.lower() == name.lower()))
    return found


def _left_out(stem: str, videos: Mapping[str, Path], sounds: Mapping[str, Path]) -> str:
    """Why a clip is left out; '' where it is not."""
    try:
        lists.clip_id(stem, "file")
    except UserError:
        return f"the name is not ACTOR_SENTENCE_EMOTION_LEVEL with an emotion of {', '.join(LABELS)}"
    if stem not in videos:
        return f"no VideoFlash/{stem}.flv"
    return "" if stem in sounds else f"no AudioWAV/{stem}.wav and no AudioMP3/{stem}.mp3"


def _named_in_vain(found: Scan) -> Iterator[tuple[str, str]]:
    """What the lists name and the folder lacks, a line per list; UserError where nothing of a list is there."""
    held = {clip.id for clip in found.clips}
    for name, clips in lists.named(found.lists).items():
        absent = [clip for clip in clips if clip not in held]
        if len(absent) == len(clips):
            raise UserError(f"{name} names {len(clips)} clips and none of them is there. {lists.AGAIN}")
        if absent:
            yield name, f"names {len(absent):,} of {len(clips):,} clips that are not there, {absent[0]} first"
    both = sorted({lists.TRAIN, lists.TEST} & found.lists.keys())
    if len(both) == 1:
        yield both[0], f"protocol ogm needs {lists.TRAIN} and {lists.TEST}"
    elif both:
        lists.parts(found.lists)


def fields(settings: Mapping[str, Any]) -> dict[str, Field]:
    """The arrays of a cache: log magnitudes (1, 257, frames), RGB frames as squares, width / height of the video."""
    steps = 1 + round(settings["seconds"] * RATE) // HOP
    return {
        "audio": Field((1, N_FFT // 2 + 1, steps), "float16"),
        "video": Field((settings["frames"], 3, settings["frame_size"], settings["frame_size"]), "uint8"),
        "aspect": Field((), "float32"),
    }


def decode(clip: Clip, settings: Mapping[str, Any]) -> Mapping[str, Array]:
    """Sound repeated to `seconds`; the frames at 0, 1, 2, ... seconds, the last of the clip for times after its end."""
    from mcr_bench.datasets.media.decode import aspect, fit, read_audio, read_frames
    from mcr_bench.datasets.media.findings import require_sound
    from mcr_bench.datasets.media.spectrogram import log_magnitude, tile

    heard = require_sound(read_audio(clip.files["audio"], RATE), clip.files["audio"].name)
    wave = tile(heard, round(settings["seconds"] * RATE))
    frames = read_frames(clip.files["video"], range(settings["frames"]), pad=True)
    return {
        "audio": log_magnitude(wave, N_FFT, HOP)[None].astype(np.float16),
        "video": fit(frames, settings["frame_size"]),
        "aspect": np.array(aspect(frames), np.float32),
    }
