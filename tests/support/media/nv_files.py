"""NVGesture in its official layout: three videos and a span for each gesture."""

from pathlib import Path

from mcr_bench.datasets.raw.motion import nvgesture_raw as raw
from mcr_bench.tests.support.media.media_files import write_clip

SUBJECTS = {"train": (1, 2, 13, 18), "test": (5, 8)}
LABELS = (1, 2, 25)


def lines(part: str) -> list[str]:
    """Twelve or six lines; the spans of infrared differ from the others."""
    return [
        f"path:./Video_data/class_{label:02}/subject{subject}_r0 depth:sk_depth:2:10 color:sk_color:2:10 "
        f"duo_left:duo_left:4:12 label:{label} "
        for subject in SUBJECTS[part]
        for label in LABELS
    ]


def write_lists(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part, name in raw.LISTS.items():
        (folder / f"{name}_cvpr2016_v2.lst").write_text("\r\n".join(lines(part)))
    return folder


def nvgesture(folder: Path) -> Path:
    """18 gestures of 3 classes and 6 subjects."""
    write_lists(folder)
    for seed, line in enumerate([*lines("train"), *lines("test")]):
        place = folder / line.split()[0].removeprefix("path:./")
        for stream in raw.STREAMS.values():
            write_clip(place / f"{stream}.avi", seconds=1.4, fps=10, seed=seed, audio=False)
    return folder
