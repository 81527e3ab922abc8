"""A run as the record's store holds it, before it is checked: text and numbers only."""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mcr_bench.bench.errors import one_line
from mcr_bench.bench.record.files.artifacts import Stored
from mcr_bench.bench.record.files.checksums import checksums_in
from mcr_bench.bench.record.row import Asked
from mcr_bench.bench.record.tags import LONGEST, PLACE, PRESETS, presets_of

if TYPE_CHECKING:
    from mlflow.entities import Run

    from mcr_bench.bench.runs.spec import RunSpec

PREFIX = "mcr-bench/"  # names of MLflow experiments begin with it; the rest is the dataset
TURN, MOMENT, DIGITS = "turn", "moment", 15  # of moments as many in every run: texts are ordered as the numbers are
NUMBER = re.compile(rf"[0-9]{{1,{DIGITS}}}")
# A moment of the year 2286, before which every moment begins with two zeros. A larger number was written by hand, and
# counts for nothing.
LAST = 10**13 - 1
OF_PRESETS = ("key", "preset", "preset_origin", "overrides", PRESETS, TURN, MOMENT)  # what `preset_tags` reads
STATES = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")  # in MLflow's words
TIME = f"a number of milliseconds since 1970, at most {LAST}"
SET_RIGHT = f"Set it right in the database, or delete the run {PLACE} and train it again."
MARKS = ("data_identity", "method_digest", "config")  # tags that only runs of this program have


@dataclass(frozen=True)
class StoredRun:
    """One run of the store. Where its database was edited by hand, or is damaged, numbers may be of any type.

    run_id: its identifier in MLflow.
    status: its status in MLflow: FINISHED, FAILED, KILLED or RUNNING.
    started: the time of its start, in milliseconds since 1970.
    metrics: name -> the last value logged.
    params: key of a setting -> its value as text.
    tags: name -> text.
    ended: the time of its end, in milliseconds since 1970; None for a run that has not ended.
    artifacts: the address of the folder with its files.
    """

    run_id: str
    status: str
    started: int
    metrics: dict[str, float]
    params: dict[str, str]
    tags: dict[str, str]
    ended: int | None = None
    artifacts: str = ""

    @property
    def finished(self) -> bool:
        """Whether the run was trained and recorded to its end."""
        return self.status == "FINISHED"

    @property
    def order(self) -> tuple[int, int]:
        """By what the newer of two runs of a key is known, whatever the clock said: its turn, then its moment."""
        return turn_of(self.tags), max(moment_of(self.tags), self.started if _is_time(self.started) else 0)

    @property
    def spoilt(self) -> str:
        """What is wrong with its state and times, and what to do; '' where nothing is."""
        times = {"start_time": self.started, "end_time": 0 if self.ended is None else self.ended}
        wrong = [("status", self.status, f"one of {', '.join(STATES)}")] if self.status not in STATES else []
        wrong += [(name, str(value), TIME) for name, value in times.items() if not _is_time(value)]
        told = (
            f"its {name} is '{one_line(str(value), LONGEST)}', which is not {right}" for name, value, right in wrong
        )
        return next((f"{one}. {SET_RIGHT}" for one in told), "")

    @property
    def files(self) -> Stored:
        """What the store says of its files."""
        return Stored(self.artifacts, self.finished, checksums_in(self.tags))

    @classmethod
    def of(cls, run: "Run") -> "StoredRun":
        """The stored run of an MLflow entity."""
        info, data = run.info, run.data
        parts = (dict(data.metrics), dict(data.params), dict(data.tags))
        return cls(info.run_id, info.status, info.start_time or 0, *parts, info.end_time, info.artifact_uri)


def turn_of(tags: Mapping[str, str]) -> int:
    """The number of a run among those of its key, in the order of their beginning; 0 where none is on record."""
    return _number(tags.get(TURN))


def moment_of(tags: Mapping[str, str]) -> int:
    """The place of a run in the order in which the runs of its dataset began; 0 where none is on record.

    It is the time of its start, in milliseconds since 1970. Where the clock had been set back, it is the next number
    after those of all runs that the record had before it.
    """
    return _number(tags.get(MOMENT))


def _is_time(value: object) -> bool:
    return type(value) is int and 0 <= value <= LAST


def _number(text: str | None) -> int:
    number = int(text) if text and NUMBER.fullmatch(text) else 0
    return number if number <= LAST else 0


class Latest(NamedTuple):
    """What a run that begins has to come after.

    moment: the last moment, or time of a start, of a dataset's runs; 0 for no runs.
    turn: the last turn of a key's runs; 0 for no runs.
    """

    moment: int
    turn: int

    def tags(self, when: int) -> dict[str, str]:
        """The tags of a run that begins `when`, in milliseconds since 1970, by which it comes after the others."""
        moment = min(max(when, 1 + self.moment), LAST)
        return {TURN: str(min(1 + self.turn, LAST)), MOMENT: f"{moment:0{DIGITS}}"}


class Reader(Protocol):
    """Something that reads runs from a store."""

    def latest(self, dataset: str, key: str) -> Latest:
        """The last ones of a dataset and of a key, also of runs that were deleted: MLflow's page brings them back."""
        ...

    def read(self, dataset: str | None = None, keys: Collection[str] | None = None) -> list[StoredRun]:
        """The runs of a dataset and of these keys that were not deleted; None means every dataset, or every key."""
        ...


def preset_tags(stored: Sequence[StoredRun], asked: Iterable["RunSpec"]) -> dict[str, str]:
    """Run id -> its new tag `presets`, for finished runs whose tag lacks a preset of the requested runs.

    stored: every run of the keys, with the tags OF_PRESETS at least; the presets of older runs of a key are added to
    its newest run.
    asked: the requested runs, each with the preset under which it is requested.

    A run whose tag cannot be read keeps it unchanged.
    """
    every: dict[str, dict[str, Asked]] = {}
    for run in stored:
        known = every.setdefault(run.tags.get("key", ""), {})
        every[run.tags.get("key", "")] = (_asked(run) or {}) | known
    for spec in asked:
        every.get(spec.key, {}).setdefault(spec.preset, Asked(spec.preset_origin, spec.overrides))
    tags: dict[str, str] = {}
    for group in by_key(run for run in stored if run.tags.get("key")):
        run, mine = group[0], _asked(group[0])
        wanted = every[run.tags["key"]]
        if run.finished and mine is not None and wanted.keys() > mine.keys():
            others = {name: asdict(one) for name, one in wanted.items() if name != run.tags.get("preset")}
            tags[run.run_id] = json.dumps(others)
    return tags


def united_presets(mine: StoredRun, other: StoredRun) -> str | None:
    """The tag `presets` of a run that also has those of another run of its key; None where it has them already.

    None too where one of the two tags cannot be read.
    """
    own, more = _asked(mine), _asked(other)
    if own is None or more is None or own.keys() >= more.keys():
        return None
    return json.dumps({name: asdict(one) for name, one in (more | own).items() if name != mine.tags.get("preset")})


def by_key(stored: Iterable[StoredRun]) -> list[list[StoredRun]]:
    """For each key its finished runs, or all of its runs if none is finished, the newest first.

    A run of this program whose key is missing forms a group of its own. Runs of other programs are left out.
    """
    groups: dict[str, list[StoredRun]] = {}
    for run in sorted(stored, key=lambda run: (run.finished, run.order), reverse=True):
        key = run.tags.get("key") or (f"no key: {run.run_id}" if any(mark in run.tags for mark in MARKS) else "")
        group = groups.setdefault(key, [])
        if not group or group[0].finished == run.finished:
            group.append(run)
    return [group for key, group in groups.items() if key]


def _asked(run: StoredRun) -> dict[str, Asked] | None:
    """Every preset under which a run was requested, that of its training first; None if its tag cannot be read."""
    others, tags = presets_of(run.tags.get(PRESETS) or "{}"), run.tags
    own = {tags.get("preset", ""): Asked(tags.get("preset_origin", ""), tags.get("overrides", ""))}
    return None if others is None else own | others
