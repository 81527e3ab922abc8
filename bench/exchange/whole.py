"""A run with everything that a record holds of it, and the JSON text that an archive holds of it."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mcr_bench.bench.core.json_values import Json
from mcr_bench.bench.errors import one_line
from mcr_bench.bench.problem.missing import LONGEST_TAG
from mcr_bench.bench.record.entities import name_of
from mcr_bench.bench.record.files.checksums import checksums_in
from mcr_bench.bench.record.made_rows import row_or_why
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.record.runs import LAST, StoredRun

OF_MLFLOW, RUN_NAME = "mlflow.", "mlflow.runName"
MOVED_FROM = "moved_from"  # the tag of a run that was trained elsewhere: its name in the record in which it was
NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
LONGEST_NAME, LONGEST_PARAM = 250, 6000  # what MLflow takes, beside LONGEST_TAG
LONGEST_DATASET, SHOWN = 240, 100  # bytes: the folder of its runs' files has this name; characters in an error
LARGEST = 2**53
KEY, RUN_ID, SHA256 = (re.compile(pattern, re.ASCII) for pattern in (r"[\w-]{1,64}", r"[\w-]{1,64}", r"[0-9a-f]{64}"))


class Malformed(ValueError):
    """What is wrong with the text of a run, in words."""


class Point(NamedTuple):
    """A value of a metric.

    step: the epoch at whose end it was measured.
    value: the value.
    when: the time at which it was logged, in milliseconds since 1970.
    """

    step: int
    value: float
    when: int


@dataclass(frozen=True)
class RunFile:
    """A file of a run.

    name: its path below the folder of the run's files, with `/` between its parts.
    size: in bytes.
    sha256: the SHA-256 of its content, in hexadecimal digits.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class WholeRun:
    """A finished run with everything that a record holds of it, its files by name.

    key: digest of everything that decides the result.
    run_id: its name in the record in which it was trained.
    name: how MLflow's page calls it.
    started, ended: in milliseconds since 1970.
    params: key of a setting -> its value as text.
    tags: name -> text, without those that MLflow itself sets.
    metrics: name -> every value that was logged, in the order of steps.
    files: what lies in the folder of its files.
    """

    key: str
    run_id: str
    name: str
    started: int
    ended: int
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, Sequence[Point]]
    files: Sequence[RunFile]

    @property
    def dataset(self) -> str:
        """The dataset's name in tables."""
        return self.tags["dataset"]

    @property
    def missing(self) -> list[str]:
        """The files whose checksums are on record and that do not lie with the others, for messages."""
        return sorted(checksums_in(self.tags).keys() - {file.name for file in self.files})

    @property
    def stored(self) -> StoredRun:
        """The run as a record's store holds it."""
        last = {name: max(points, key=lambda p: (p.step, p.when)).value for name, points in self.metrics.items()}
        return StoredRun(
            self.run_id, "FINISHED", self.started, last, dict(self.params), dict(self.tags), self.ended, ""
        )


def text_of(run: WholeRun) -> bytes:
    """The JSON text of a run; the same run has the same text."""
    metrics = {name: [[p.step, _number(p.value), p.when] for p in points] for name, points in run.metrics.items()}
    content = vars(run) | {
        "params": dict(run.params),
        "tags": dict(run.tags),
        "metrics": metrics,
        "files": [vars(file) for file in run.files],
    }
    return json.dumps(content, sort_keys=True, allow_nan=False).encode()


def run_of(text: bytes) -> WholeRun:
    """The run in such a text, of which nothing is taken on trust: `Malformed` where something cannot be moved."""
    content = _Fields(object_in(text, "a run"))
    run = WholeRun(
        key=content.word("key", KEY),
        run_id=content.word("run_id", RUN_ID),
        name=content.text("name", LONGEST_TAG),
        started=content.whole("started", LAST),
        ended=content.whole("ended", LAST),
        params=content.texts("params", LONGEST_PARAM),
        tags=content.texts("tags", LONGEST_TAG),
        metrics={name: _points(name, value) for name, value in content.named("metrics").items()},
        files=[_file(value) for value in content.listed("files")],
    )
    return require_movable(run)


def require_movable(run: WholeRun) -> WholeRun:
    """The run itself; `Malformed` where a record could not hold it or would not read it."""
    row = row_or_why(run.stored)
    if not isinstance(row, RunRow):
        raise Malformed(row.reason)
    if row.key != run.key:
        raise Malformed(f"its tag 'key' is '{one_line(row.key)}'")
    name = f"'{one_line(run.dataset, SHOWN)}' cannot be the name of a dataset"
    if not run.dataset.strip(". "):
        raise Malformed(f"{name}: nothing but points and blanks")
    if len(run.dataset.encode()) > LONGEST_DATASET:
        raise Malformed(f"{name}: it has more than {LONGEST_DATASET} bytes, and a folder gets it")
    if any(name.startswith(OF_MLFLOW) or name == MOVED_FROM for name in run.tags):
        raise Malformed("it has a tag that only MLflow or this program sets")
    names = [file.name for file in run.files]
    if len({name.casefold() for name in names}) < len(names):
        raise Malformed("two of its files have the same name")
    sums = checksums_in(run.tags)
    for file in run.files:
        if sums.get(file.name, file.sha256) != file.sha256:
            raise Malformed(f"the checksum of its {file.name} is not the one in its tags")
    return run


def object_in(text: bytes, what: str) -> Mapping[str, Json]:
    """The JSON object in a text, each name once; `Malformed` where it is not one."""
    try:
        value: Json = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the text of {what} is not JSON as it is written here: {one_line(str(error))}") from error
    if not isinstance(value, dict):
        raise Malformed(f"the text of {what} is not a JSON object")
    return value


class _Fields:
    """The fields of an object, each of the type that is asked for."""

    def __init__(self, content: Mapping[str, Json]) -> None:
        self._content = content

    def word(self, name: str, pattern: re.Pattern[str]) -> str:
        value = self.text(name, LONGEST_NAME)
        if not pattern.fullmatch(value):
            raise Malformed(f"its '{name}' is '{one_line(value)}', which is not allowed")
        return value

    def text(self, name: str, longest: int) -> str:
        return _text(name, self._content.get(name), longest)

    def whole(self, name: str, largest: int = LARGEST) -> int:
        return _whole(name, self._content.get(name), largest)

    def named(self, name: str) -> Mapping[str, Json]:
        value = self._content.get(name)
        if not isinstance(value, dict):
            raise Malformed(f"its '{name}' is not an object")
        for inner in value:
            if name_of(_text(f"name in {name}", inner, LONGEST_NAME)) != inner or not inner:
                raise Malformed(f"'{one_line(inner)}' cannot be a name in its '{name}'")
        return value

    def texts(self, name: str, longest: int) -> dict[str, str]:
        return {inner: _text(inner, value, longest) for inner, value in self.named(name).items()}

    def listed(self, name: str) -> Sequence[Json]:
        value = self._content.get(name)
        if not isinstance(value, list):
            raise Malformed(f"its '{name}' is not a list")
        return value


def _points(name: str, value: Json) -> list[Point]:
    if not isinstance(value, list) or not value:
        raise Malformed(f"its metric '{name}' is not a list of values")
    return [_point(name, one) for one in value]


def _point(name: str, value: Json) -> Point:
    if not isinstance(value, list) or len(value) != 3:
        raise Malformed(f"its metric '{name}' has a value that is not [step, value, time]")
    step, number, when = value
    return point_of(name, step, NOT_FINITE.get(number, number) if isinstance(number, str) else number, when)


def point_of(name: str, step: Json, number: Json, when: Json) -> Point:
    """A point of a metric's curve; `Malformed` where one of its parts is not a number, or too large for JSON."""
    if isinstance(number, bool) or not isinstance(number, int | float) or _is_huge(number):
        raise Malformed(f"its metric '{one_line(name)}' has a value that is not a number")
    return Point(_whole(name, step), float(number), _whole(name, when, LAST))


def _is_huge(number: float) -> bool:
    """Whether it is a whole number that no float holds exactly; JSON has those of any length."""
    return type(number) is int and abs(number) > LARGEST


def _file(value: Json) -> RunFile:
    if not isinstance(value, dict):
        raise Malformed("one of its 'files' is not an object")
    fields = _Fields(value)
    file = RunFile(fields.text("name", LONGEST_NAME), fields.whole("size"), fields.word("sha256", SHA256))
    parts = file.name.split("/")
    if any(part.strip(". ") == "" or name_of(part) != part or ":" in part or part.startswith(".") for part in parts):
        raise Malformed(f"'{one_line(file.name)}' is not allowed as the name of a file")
    return file


def _text(name: str, value: Json, longest: int) -> str:
    if not isinstance(value, str) or len(value) > longest or "\0" in value or not _is_unicode(value):
        raise Malformed(f"its '{one_line(name)}' is not a text of at most {longest} characters")
    return value


def _is_unicode(text: str) -> bool:
    """False for half of a surrogate pair, which no database takes."""
    return not re.search("[\ud800-\udfff]", text)


def _whole(name: str, value: Json, largest: int = LARGEST) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= largest:
        raise Malformed(f"its '{one_line(name)}' is not a whole number from 0 to {largest}")
    return value


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a name is given twice")
    return content


def _no_constant(text: str) -> Json:
    raise ValueError(f"{text} is not JSON")
