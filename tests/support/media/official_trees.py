"""Small complete copies of the paper's six datasets in their official layouts: real containers, codecs and lists.

At least 24 clips each, of several classes and groups.
"""

import json
from collections.abc import Callable
from pathlib import Path

from mcr_bench.datasets.raw.ucf_raw import CLASSES
from mcr_bench.tests.support.media.media_files import write_audio, write_clip
from mcr_bench.tests.support.media.mosi_files import CHANNELS, MOSEI_CHANNELS, write_pickle

EMOTIONS = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
EVENTS = ("Bark", "Church bell", "Frying (food)", "Violin, fiddle")
SPORTS = ("ApplyEyeMakeup", "BandMarching", "Typing")
TEMPLATES = ("Folding [something]", "Moving [something] up", "[Something] falling like a rock")


def cremad(folder: Path) -> Path:
    """30 clips of 5 actors and 6 emotions, no list: protocol `speaker`."""
    clips = [f"{actor}_DFA_{emotion}_XX" for actor in range(1001, 1006) for emotion in EMOTIONS]
    for seed, clip in enumerate(clips):
        write_clip(folder / f"VideoFlash/{clip}.flv", seconds=2.2, fps=5, seed=seed, audio=False)
        write_audio(folder / f"AudioWAV/{clip}.wav", seconds=2.2, seed=seed)
    return folder


def ave(folder: Path) -> Path:
    """24 videos of 4 events: 12 train, 6 validation, 6 test."""
    rows = [f"{EVENTS[n % 4]}&video_-{n:04}&good&{n % 3}&{4 + n % 3}" for n in range(24)]
    folder.mkdir(parents=True)
    for name, of in (("Annotations", rows), ("trainSet", rows[:12]), ("valSet", rows[12:18]), ("testSet", rows[18:])):
        (folder / f"{name}.txt").write_text("\n".join(of) + "\n")
    for n in range(24):
        write_clip(folder / f"AVE/video_-{n:04}.mp4", seconds=6, fps=5, seed=n)
    return folder


def ucf101(folder: Path) -> Path:
    """24 clips of 3 classes and 4 groups each; the first list tests on group 1."""
    lists = folder / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    names = {g: [f"{c}/v_{c}_g{g:02}_c{k:02}.avi" for c in SPORTS for k in (1, 2)] for g in range(1, 5)}
    (lists / "classInd.txt").write_text("".join(f"{n} {c}\n" for n, c in enumerate(CLASSES, 1)))
    for fold in (1, 2, 3):
        test = names[fold]
        train = [name for g, of in names.items() if g != fold for name in of]
        labelled = [f"{name} {CLASSES.index(name.split('/')[0]) + 1}\r\n" for name in train]
        (lists / f"trainlist0{fold}.txt").write_bytes("".join(labelled).encode())
        (lists / f"testlist0{fold}.txt").write_bytes("".join(f"{name}\r\n" for name in test).encode())
    for seed, name in enumerate(name for of in names.values() for name in of):
        write_clip(folder / "UCF-101" / name, seconds=4.2, fps=5, seed=seed)
    return folder


def mosi(folder: Path) -> Path:
    """32 segments of 8 videos in MultiBench's form."""
    folder.mkdir(parents=True)
    write_pickle(folder, "mosi_data.pkl", channels=CHANNELS)
    return folder


def mosei(folder: Path) -> Path:
    """32 segments of 8 videos in MultiBench's form."""
    folder.mkdir(parents=True)
    write_pickle(folder, "mosei_senti_data.pkl", channels=MOSEI_CHANNELS)
    return folder


def something_something(folder: Path) -> Path:
    """24 labelled clips of 3 templates, 18 to train on, and 2 without labels."""
    labels = folder / "labels"
    labels.mkdir(parents=True)
    rows = [{"id": str(i), "template": TEMPLATES[i % 3], "label": "", "placeholders": []} for i in range(1, 25)]
    classes = {t.replace("[", "").replace("]", ""): str(n) for n, t in enumerate(TEMPLATES)}
    tables = {"labels": classes, "train": rows[:18], "validation": rows[18:], "test": [{"id": "25"}, {"id": "26"}]}
    for name, table in tables.items():
        (labels / f"{name}.json").write_text(json.dumps(table))
    for i in range(1, 27):
        write_clip(folder / f"20bn-something-something-v2/{i}.webm", seconds=1.5, fps=12, seed=i)
    return folder


TREES: dict[str, Callable[[Path], Path]] = {
    "cremad": cremad,
    "ave": ave,
    "ucf101": ucf101,
    "mosi": mosi,
    "mosei": mosei,
    "something-something": something_something,
}
