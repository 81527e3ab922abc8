"""Frames and sound that users have extracted already, as OGM-GE's scripts do: Image-RR-FPS/CLIP/*.jpg and CLIP.wav.

RR is the number of frames per second. Frames are used where the videos themselves are missing, because videos have
time stamps. The role of such a folder in a clip holds the rate, so that another rate is another source.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.cache.recipe import Clip
from mcr_bench.datasets.media.pictures import pictures_of, size_of, size_text
from mcr_bench.datasets.media.reasons import Unusable
from mcr_bench.datasets.raw.folders import walked
from mcr_bench.datasets.raw.raw_files import AUDIO, VIDEO

FOLDER = re.compile(r"image-(0*[1-9]\d{0,3})-fps", re.IGNORECASE)
LAYOUT = "Image-RR-FPS/CLIP/*.jpg, CLIP.wav"
ROLE = "frames@"
LIST = "extracted.txt"  # kept with the lists of a cache: the card of each protocol shows it
LOOKED_AT = 20  # clips whose first frame is read to learn the size of the frames


@dataclass
class Extracted:
    """What was extracted from clips.

    frames: name of a clip -> its folder of pictures.
    sounds: name of a clip -> its file of sound.
    """

    frames: dict[str, Path] = field(default_factory=dict)
    sounds: dict[str, Path] = field(default_factory=dict)

    def note(self) -> dict[str, bytes]:
        """`LIST` -> a sentence with the rate and the size of the frames as they are; empty without frames."""
        if not self.frames:
            return {}
        rates = sorted({rate_of(folder) for folder in self.frames.values()})
        sizes = sorted(_sizes(self.frames))
        shown = " to ".join(dict.fromkeys(map(size_text, (sizes[0], sizes[-1])))) if sizes else "of unknown size"
        per_second = " or ".join(f"{rate}" for rate in rates)
        text = f"from frames extracted before, {per_second} per second, {shown} pixels, and separate sound"
        return {LIST: text.encode()}


def extracted(source: Path) -> Extracted:
    """The folders of frames and the files of sound anywhere in a raw folder.

    UserError that names both if a clip has two folders of frames or two files of sound.
    """
    result = Extracted()
    for folder in _folders(source):
        for path in sorted(folder.iterdir()):
            if FOLDER.fullmatch(folder.name):
                if path.is_dir():
                    _add(result.frames, _without_suffix(path.name), path)
            elif path.suffix.lower() in AUDIO and not path.name.startswith("."):
                _add(result.sounds, path.stem, path)
    return result


def role_of(path: Path) -> str:
    """The role of what shows a clip: video for a file, and frames@RR for a folder of frames.

    >>> role_of(Path("Image-01-FPS/1001_DFA_ANG_XX")), role_of(Path("VideoFlash/1001_DFA_ANG_XX.flv"))
    ('frames@1', 'video')
    """
    return f"{ROLE}{rate_of(path)}" if FOLDER.fullmatch(path.parent.name) else "video"


def rate_of(path: Path) -> int:
    """The frames per second of a clip's folder, from the name of the folder that it is in."""
    match = FOLDER.fullmatch(path.parent.name)
    return int(match[1]) if match else 0


def sound_file(clip: Clip) -> Path:
    """The file with the sound of a clip: its file of sound, or else its video."""
    return clip.files.get("audio") or clip.files["video"]


def shown(clip: Clip, times: Sequence[float], pad: bool = False) -> Array:
    """The frame on screen at each of F times, (F, H, W, 3) uint8 RGB, of the clip's video or extracted frames.

    pad: whether the last frame is used for times after the end of the clip, which are `Unusable` otherwise.
    """
    from mcr_bench.datasets.media.decode import read_frames
    from mcr_bench.datasets.media.pictures import read_pictures

    for role, path in clip.files.items():
        if role.startswith(ROLE):
            return read_pictures(path, times, float(role.removeprefix(ROLE)), pad)
    return read_frames(clip.files["video"], times, pad)


def _folders(source: Path) -> Iterator[Path]:
    """Every folder of the source except the folders of frames, which may be many."""
    for here, inner, _ in walked(source):
        yield here
        if FOLDER.fullmatch(here.name):
            inner.clear()
        inner[:] = sorted(name for name in inner if not name.startswith("."))


def _without_suffix(name: str) -> str:
    """The clip of a folder that carries the name of its video, as those of VGGSound do.

    >>> _without_suffix("---1_cCGK4M_0.mp4"), _without_suffix("a.b")
    ('---1_cCGK4M_0', 'a.b')
    """
    suffix = Path(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in VIDEO else name


def _add(of: dict[str, Path], clip: str, path: Path) -> None:
    if of.setdefault(clip, path) != path:
        raise UserError(f"'{of[clip]}' and '{path}' are of the same clip. Keep one of them.")


def _sizes(frames: Mapping[str, Path]) -> set[tuple[int, int]]:
    """The sizes of the first frames of some clips, without those that cannot be read: decoding gives their reason."""
    sizes = set()
    for clip in sorted(frames)[:LOOKED_AT]:
        with suppress(Unusable, OSError, IndexError):
            sizes.add(size_of(pictures_of(frames[clip])[0]))
    return sizes
