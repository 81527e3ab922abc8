"""The raw folder of CREMA-D: its clips, and how a clip becomes a row of a cache."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.cache.recipe import Clip, Field, Scan, Settings
from mcr_bench.datasets.raw import cremad_lists as lists
from mcr_bench.datasets.raw.extracted import Extracted, extracted, role_of, shown
from mcr_bench.datasets.raw.lists import by_lower_name
from mcr_bench.datasets.raw.raw_files import AUDIO, VIDEO, MediaFiles, as_lines, count
from mcr_bench.datasets.raw.sound_and_frames import row_of, sound_and_frames

LAYOUT = """DIR/
  VideoFlash/1001_DFA_ANG_XX.flv   (ACTOR_SENTENCE_EMOTION_LEVEL)
  AudioWAV/1001_DFA_ANG_XX.wav     (or AudioMP3/1001_DFA_ANG_XX.mp3; if both exist, the wav is used)
  Image-01-FPS/1001_DFA_ANG_XX/*.jpg   (instead of VideoFlash: extracted frames, here 1 per second)
  splits.json                      (optional, for protocol vavl; in any folder, or --splits FILE)
  train.csv, test.csv              (optional, for protocol ogm; in any folder, or --splits FILE)"""
LABELS = {emotion: at for at, emotion in enumerate(lists.EMOTIONS)}
FOLDERS = {"VideoFlash": (".flv", VIDEO), "AudioWAV": (".wav", AUDIO), "AudioMP3": (".mp3", AUDIO)}
VERSION = 1
SOUND = "of a clip in AudioWAV and in AudioMP3 the wav"  # part of every recipe: another text is another cache
RATE = 22050
N_FFT, HOP = 512, 353


def scan(source: Path, splits: Sequence[Path]) -> Scan:
    """Every clip with video and sound, sorted by id; a .wav is preferred to an .mp3.

    UserError if the folder or a list is not CREMA-D's.
    """
    folders = {name: path for name, path in by_lower_name(source).items() if path.is_dir()}
    made = Extracted()
    media = {name: MediaFiles(*kinds) for name, kinds in FOLDERS.items()}
    videos, waves, mp3s = (
        media[name].one_per_clip(folders[name.lower()]) if name.lower() in folders else {} for name in FOLDERS
    )
    sounds = mp3s | waves
    if not videos:
        made = extracted(source)
        videos, sounds = made.frames, made.sounds | sounds
    if not videos or not sounds:
        absent = "VideoFlash/*.flv" if not videos else "AudioWAV/*.wav and no AudioMP3/*.mp3"
        notes = as_lines(note for name in FOLDERS for note in media[name].notes(name, ()))
        raise UserError(f"'{source}' has no {absent}.{notes}\nExpected:\n{LAYOUT}")
    scan = Scan([])
    scan.lists = lists.read(source, splits, scan.problems) | made.note()
    for stem in sorted(videos.keys() | sounds.keys()):
        reason = _left_out(stem, videos, sounds)
        if reason:
            scan.problems.append((stem, reason))
            continue
        files = {role_of(videos[stem]): videos[stem], "audio": sounds[stem]}
        scan.clips.append(Clip(stem, LABELS[lists.emotion_of(stem)], stem.split("_")[0], files))
    if both := waves.keys() & mp3s.keys():
        scan.problems.append(("AudioMP3", f"{len(both):,} of its clips are also in AudioWAV, which is used"))
    scan.problems += _missing_clips(scan)
    used = [path for clip in scan.clips for path in clip.files.values()]
    for name in FOLDERS:
        scan.notes += media[name].notes(name, (path for path in used if path.parent.name.lower() == name.lower()))
    return scan


def listed_clips(source: Path) -> Scan:
    """Every clip of the lists anywhere in a folder, as if all were available; UserError without lists."""
    result = Scan([])
    result.lists = lists.read(source, (), result.problems)
    clips = sorted(set().union(*lists.listed_clips(result.lists).values()))
    if not clips:
        raise UserError(f"'{source}' has none of the lists {lists.FOLDS}, {lists.TRAIN} and {lists.TEST} of CREMA-D.")
    result.clips = [Clip(clip, LABELS[lists.emotion_of(clip)], clip.split("_")[0], {}) for clip in clips]
    return result


def _left_out(stem: str, videos: Mapping[str, Path], sounds: Mapping[str, Path]) -> str:
    """Why a clip is left out; '' if it is used."""
    try:
        lists.clip_id(stem, "file")
    except UserError:
        return f"the name is not ACTOR_SENTENCE_EMOTION_LEVEL with an emotion of {', '.join(LABELS)}"
    if stem not in videos:
        return f"no VideoFlash/{stem}.flv"
    return "" if stem in sounds else f"no AudioWAV/{stem}.wav and no AudioMP3/{stem}.mp3"


def _missing_clips(scan: Scan) -> Iterator[tuple[str, str]]:
    """(list, problem) of lists with clips that are missing from the folder; UserError if all clips of a list are."""
    available = {clip.id for clip in scan.clips}
    for name, clips in lists.listed_clips(scan.lists).items():
        missing = [clip for clip in clips if clip not in available]
        if not clips:
            raise UserError(f"{name} lists no clip. {lists.AGAIN}")
        if len(missing) == len(clips):
            raise UserError(f"{name} lists {count(len(clips), 'clip')}, all missing from the folder. {lists.AGAIN}")
        if missing:
            yield name, f"{len(missing):,} of its {len(clips):,} clips are missing, {missing[0]} first"
    both = sorted({lists.TRAIN, lists.TEST} & scan.lists.keys())
    if len(both) == 1:
        yield both[0], f"protocol ogm needs {lists.TRAIN} and {lists.TEST}"
    elif both:
        lists.parts(scan.lists)  # a UserError where they contradict each other


def fields(settings: Settings) -> dict[str, Field]:
    """The arrays of a cache: log magnitudes (1, 257, steps), frames and aspect."""
    steps = 1 + round(settings["seconds"] * RATE) // HOP
    return sound_and_frames((1, N_FFT // 2 + 1, steps), settings["frames"], settings["frame_size"])


def decode(clip: Clip, settings: Settings) -> Mapping[str, Array]:
    """One row of each array: sound repeated to `seconds`, and the frames at 0, 1, 2, ... seconds.

    They are audio (1, 257, steps) float16, video (frames, 3, size, size) uint8 and aspect () float32. For times after
    the end of the clip its last frame is used.
    """
    from mcr_bench.datasets.media.decode import read_audio
    from mcr_bench.datasets.media.findings import require_sound
    from mcr_bench.datasets.media.spectrogram import log_magnitude, tile

    heard = require_sound(read_audio(clip.files["audio"], RATE), clip.files["audio"].name)
    wave = tile(heard, round(settings["seconds"] * RATE))
    frames = shown(clip, range(settings["frames"]), pad=True)
    return row_of(log_magnitude(wave, N_FFT, HOP)[None], frames, settings["frame_size"])
