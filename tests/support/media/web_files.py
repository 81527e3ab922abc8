"""Folders of web videos that tests encode themselves, their lists, and frames extracted as OGM-GE's scripts do it."""

import json
from pathlib import Path

import cv2

from mcr_bench.datasets.raw.web import ks_lists
from mcr_bench.tests.support.media.media_files import picture, write_audio, write_clip

KS = ("bowling", "laughing", "singing", "tickling")
SUBSETS = ["training"] * 12 + ["validation"] * 4 + ["testing"] * 8


def ks_video(number: int) -> str:
    """An id of 11 characters with the characters that ids may have."""
    return f"-_Ab{number:07}"


def ks_json(subsets: list[str] = SUBSETS, labels: tuple[str, ...] = KS) -> str:
    """The list with all three parts; testing clips are named by the video alone, as in the published one."""
    names = [ks_video(n) if of == "testing" else f"{ks_video(n)}_000002_000012" for n, of in enumerate(subsets)]
    database = {
        name: {"subset": of, "label": labels[n % len(labels)]}
        for n, (name, of) in enumerate(zip(names, subsets, strict=True))
    }
    return json.dumps({"labels": list(labels), "database": database})


def ks_texts(labels: tuple[str, ...] = KS) -> dict[str, str]:
    """my_train.txt and my_test.txt of the same training and test clips, with line ends of Windows."""
    rows: dict[str, list[str]] = {"my_train.txt": [], "my_test.txt": []}
    for n, of in enumerate(SUBSETS):
        label = ks_lists.CLASSES.index(labels[n % len(labels)])
        if of == "training":
            rows["my_train.txt"].append(f"{ks_video(n)}_000002_000012,10,{label}\r\n")
        elif of == "testing":
            rows["my_test.txt"].append(f"{ks_video(n)}_2,10,{label}\r\n")
    return {name: "".join(of) for name, of in rows.items()}


def ks_tables(labels: tuple[str, ...] = KS) -> dict[str, str]:
    """train.csv, with a byte order mark as published, and test.csv of the same clips."""
    rows = {"train.csv": "\ufeffyoutube_id,label\r\n", "test.csv": "youtube_id,label\r\n"}
    for n, of in enumerate(SUBSETS):
        if of != "validation":
            name = "train.csv" if of == "training" else "test.csv"
            rows[name] += f"{ks_video(n)}_000002_000012,{labels[n % len(labels)]}\r\n"
    return rows


def ks_clips(folder: Path, numbers: range = range(len(SUBSETS))) -> Path:
    """The clips in folders of their classes, as Kinetics-400 has them."""
    for n in numbers:
        place = folder / "train" / KS[n % 4].replace("_", " ") / f"{ks_video(n)}_000002_000012.mp4"
        write_clip(place, seconds=2.2, fps=5, seed=n)
    return folder


def kinetics_sounds(folder: Path) -> Path:
    """24 clips of 4 classes: 12 train, 4 validation, 8 test."""
    ks_clips(folder)
    (folder / ks_lists.WHOLE).write_text(ks_json())
    return folder


def write_pictures(folder: Path, frames: int, seed: int = 0, step: int = 25, suffix: str = ".jpg") -> Path:
    """A folder of frames, named by their numbers in the video, `step` frames apart."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(frames):
        cv2.imwrite(str(folder / f"{n * step:05}{suffix}"), picture(n, 64, 48, seed)[..., ::-1])
    return folder


def extracted_clip(source: Path, clip: str, seed: int, frames: int = 3, rate: int = 1, folder: str = "") -> None:
    """What OGM-GE's scripts leave of a clip: Image-RR-FPS/CLIP/*.jpg and AudioWAV/CLIP.wav."""
    write_pictures(source / folder / f"Image-{rate:02}-FPS" / clip, frames, seed)
    write_audio(source / "AudioWAV" / f"{clip.removesuffix('.mp4')}.wav", seconds=frames / rate, seed=seed)


def vgg_rows() -> list[str]:
    """Lines of vggsound.csv: 20 training and 6 test clips of two classes; video 1 has two clips, one in each part."""
    rows = [
        f"{ks_video(n)},{10 * n},{('people coughing', chr(34) + 'pigeon, dove cooing' + chr(34))[n % 2]},train"
        for n in range(20)
    ]
    return [*rows, *(f"{ks_video(n)},30,people coughing,test" for n in (1, 20, 21, 22, 23, 24))]


def vggsound(folder: Path) -> Path:
    """26 clips in the layout of OGM-GE's scripts' input, with starts as in the list."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, row in enumerate(vgg_rows()):
        video, start = row.split(",")[:2]
        name = f"{video}_{int(start):06}.mp4" if seed % 2 else f"{video}_{start}_{int(start) + 10}.mp4"
        write_clip(folder / ("test" if row.endswith("test") else "train") / name, seconds=1.2, fps=5, seed=seed)
    (folder / "vggsound.csv").write_text("\n".join(vgg_rows()))
    return folder


def vgg_frames(folder: Path) -> Path:
    """The same clips as OGM-GE's scripts leave them: folders that carry the names of the videos."""
    for seed, row in enumerate(vgg_rows()):
        video, start = row.split(",")[:2]
        extracted_clip(folder, f"{video}_{start}.mp4", seed, folder="test" if row.endswith("test") else "train")
    (folder / "vggsound.csv").write_text("\n".join(vgg_rows()))
    return folder
