"""Lists and folders in the official layout of AVE: what the tests of this set share."""

from pathlib import Path

SMALL = {"frame_size": 32, "crop": 24}


def line(label: str, video: str, start: int = 0, end: int = 2) -> str:
    return f"{label}&{video}&good&{start}&{end}"


def lists() -> dict[str, list[str]]:
    """24 events of 4 classes and 22 videos: 14 train, 5 val, 5 test; videos 00 and 01 are in two parts each."""
    names = ("Church bell", "Bark", "Frying (food)", "Violin, fiddle")
    rows = [line(names[n % 4], f"video_-{n:04}", n % 2, 2) for n in range(22)]
    train, val, test = rows[:14], rows[14:18], rows[18:]
    val.append(line("Mandolin", "video_-0000"))
    test.append(line("Mandolin", "video_-0001"))
    result = {"trainSet.txt": train, "valSet.txt": val, "testSet.txt": test}
    return {"Annotations.txt": [row for rows in result.values() for row in rows], **result}


def write_lists(folder: Path, rows: dict[str, list[str]], end: str = "\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, of in rows.items():
        (folder / name).write_bytes("".join(row + end for row in of).encode())
    return folder


def empty_videos(folder: Path) -> Path:
    """What `scan` sees; nothing is decoded."""
    (folder / "AVE").mkdir()
    for n in range(22):
        (folder / f"AVE/video_-{n:04}.mp4").touch()
    return folder
