"""The raw folder of VGGSound: its list, the available clips, and the part of each clip."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.cache.recipe import Clip, Scan
from mcr_bench.datasets.raw.held_out import train_and_validation
from mcr_bench.datasets.raw.lists import cells_of, list_files, numbered_lines, read_lists
from mcr_bench.datasets.raw.raw_files import as_lines
from mcr_bench.datasets.raw.web import files
from mcr_bench.datasets.raw.web.names import Name, name_of

LIST = "vggsound.csv"
LAYOUT = f"SOURCE/\n{files.LAYOUT}\n  {LIST}    VIDEO,START,CLASS,train or test; in SOURCE itself, or --splits FILE"
AGAIN = "Use the list as it was published."


class Row(NamedTuple):
    """One line of the list.

    name: the video and the second at which the clip starts.
    label: the name of the class.
    part: train or test.
    """

    name: Name
    label: str
    part: str

    @property
    def id(self) -> str:
        """The video and the start, because a video may have several clips.

        >>> Row(Name("--U7joUcTCo", 0), "people coughing", "test").id
        '--U7joUcTCo_0'
        """
        return f"{self.name.video}_{self.name.start}"


def rows_of(content: bytes) -> Iterator[Row]:
    """The lines of the list; UserError that gives the line if it cannot be understood."""
    for number, line in numbered_lines(content):
        match cells_of(line):
            case [video, start, label, part] if part.strip() in ("train", "test") and start.strip().isdecimal():
                name = name_of(f"{video.strip()}_{int(start)}")
                if name is not None and label.strip():
                    yield Row(name, label.strip(), part.strip())
                    continue
        raise UserError(f"{LIST}, line {number}: '{line[:80]}' is not VIDEO,START,CLASS,train or test. {AGAIN}")


@lru_cache(maxsize=1)
def classes_of(content: bytes) -> tuple[str, ...]:
    """The classes of the whole list in alphabetical order, whichever clips are available."""
    return tuple(sorted({row.label for row in rows_of(content)}))


def unique(rows: Iterator[Row]) -> tuple[dict[str, Row], list[tuple[str, str]]]:
    """Id -> line, and (id, problem) of clips that are listed more than once.

    The first line is used, but a line of the test part where the lines are of both parts.
    """
    kept: dict[str, Row] = {}
    problems = []
    for row in rows:
        first = kept.setdefault(row.id, row)
        if first is row:
            continue
        if row.part != first.part:
            problems.append((row.id, f"in train and in test of {LIST}; used in test alone"))
            kept[row.id] = row if row.part == "test" else first
        else:
            problems.append((row.id, f"in {LIST} more than once; its first line is used"))
    return kept, problems


def scan(source: Path, splits: Sequence[Path]) -> Scan:
    """The clips of the list with available files; UserError if the list is missing or no clip is available."""
    rows, lists, problems, index = _read(source, splits)
    available = files.web_files(source)
    ids = {row.name: key for key, row in rows.items()}
    result = files.clips_of(available, ids, {key: index[row.label] for key, row in rows.items()}, lists)
    if not result.clips:
        notes = as_lines(result.notes)
        raise UserError(f"'{source}' has no clip of the videos in {LIST}.{notes}\nExpected:\n{LAYOUT}")
    result.problems = problems
    missing = len(rows) - len(result.clips)
    if missing:
        result.problems.append((LIST, f"{missing:,} of its {len(rows):,} clips are missing on disk"))
    return result


def listed_clips(source: Path, splits: Sequence[Path]) -> Scan:
    """Every clip of the list, as if all were available."""
    rows, lists, problems, index = _read(source, splits)
    clips = [Clip(key, index[rows[key].label], rows[key].name.video, {}) for key in sorted(rows)]
    return Scan(clips, problems, lists)


def parts(content: bytes) -> dict[str, str]:
    """Id -> train, val or test; validation is a tenth of each class of the training part."""
    rows, _ = unique(rows_of(content))
    index = {label: at for at, label in enumerate(classes_of(content))}
    train = {key: index[row.label] for key, row in rows.items() if row.part == "train"}
    return train_and_validation(train) | {key: "test" for key, row in rows.items() if row.part == "test"}


def _read(
    source: Path, splits: Sequence[Path]
) -> tuple[dict[str, Row], dict[str, bytes], list[tuple[str, str]], Mapping[str, int]]:
    """The lines by id, the list itself, its problems, and the index of each class."""
    paths = list_files(source, (LIST,), splits)
    if not paths:
        raise UserError(f"'{source}' has no {LIST}. Expected:\n{LAYOUT}")
    lists = read_lists(paths)
    rows, problems = unique(rows_of(lists[LIST]))
    if not rows:
        raise UserError(f"{LIST} lists no clip. {AGAIN}")
    return rows, lists, problems, {label: at for at, label in enumerate(classes_of(lists[LIST]))}
