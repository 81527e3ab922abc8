"""UCF101 as frames and optical flow, in the official layout and in that of the two-stream release."""

from pathlib import Path

import cv2
import numpy as np

from mcr_bench.datasets.raw import ucf_raw
from mcr_bench.tests.support.media.media_files import picture, write_clip

SPORTS = ("ApplyEyeMakeup", "Diving", "YoYo")  # the last two have no sound
FRAMES = 7
SHIFT = 3.0  # columns that the picture moves from frame to frame, see `picture`


def names() -> dict[int, list[str]]:
    """Group -> the names of its clips without suffix: 24 clips of 3 classes and 4 groups."""
    return {g: [f"{c}/v_{c}_g{g:02}_c{k:02}" for c in SPORTS for k in (1, 2)] for g in range(1, 5)}


def write_lists(folder: Path) -> Path:
    """classInd.txt with all 101 classes, and three folds; fold k tests on group k."""
    lists = folder / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text("".join(f"{n} {c}\n" for n, c in enumerate(ucf_raw.ALL, 1)))
    for fold in (1, 2, 3):
        train = [name for g, of in names().items() if g != fold for name in of]
        labelled = [f"{name}.avi {ucf_raw.ALL.index(name.split('/')[0]) + 1}\n" for name in train]
        (lists / f"trainlist0{fold}.txt").write_text("".join(labelled))
        (lists / f"testlist0{fold}.txt").write_text("".join(f"{name}.avi\n" for name in names()[fold]))
    return folder


def videos(folder: Path) -> Path:
    """Clips without sound."""
    write_lists(folder)
    for seed, name in enumerate(name for of in names().values() for name in of):
        write_clip(folder / f"UCF-101/{name}.avi", seconds=0.7, fps=10, seed=seed, audio=False)
    return folder


def release(folder: Path) -> Path:
    """Frames, and flow images one fewer: u is 3 pixels to the right, v is 0."""
    write_lists(folder)
    for seed, name in enumerate(name for of in names().values() for name in of):
        clip = name.split("/")[1]
        for n in range(1, FRAMES + 1):
            write_image(folder / f"jpegs_256/{clip}/frame{n:06}.jpg", picture(n, 64, 48, seed)[..., ::-1])
            if n < FRAMES:
                for axis, code in (("u", round((SHIFT + 20) * 255 / 40)), ("v", 128)):
                    write_image(folder / f"tvl1_flow/{axis}/{clip}/frame{n:06}.jpg", np.full((48, 64), code, np.uint8))
    return folder


def write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)
