"""The finished runs of several records, homes and archives in one list; each number is computed again on the way."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mcr_bench.bench.core.interrupts import check
from mcr_bench.bench.errors import one_line
from mcr_bench.bench.exchange.origins import Origin, movable
from mcr_bench.bench.exchange.whole import Malformed, RunFile
from mcr_bench.bench.publish.rebuilt import Acting
from mcr_bench.bench.publish.settings import Keys
from mcr_bench.bench.publish.verify import number_faults, predictions_file
from mcr_bench.bench.record.files.artifacts import PREDICTIONS, Artifact
from mcr_bench.bench.record.files.floors import read_floors
from mcr_bench.bench.record.files.samples import Samples, read_samples
from mcr_bench.bench.record.made_rows import row_of
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.record.runs import StoredRun
from mcr_bench.bench.words import number_of

COMPUTED = "computed again"


@dataclass(frozen=True)
class Source:
    """Where a run on the site is from.

    origin: how pages call the record or archive.
    state: whether its numbers follow from its predictions, or why that is not known.
    predictions: the SHA-256 of its predictions; "" where it has none.
    """

    origin: str
    state: str
    predictions: str


@dataclass
class Taken:
    """How many runs were taken from an origin, and how many of it an earlier origin has with the same result."""

    runs: int = 0
    again: int = 0

    @property
    def text(self) -> str:
        """In words."""
        more = f", {self.again} more that an earlier one has too" if self.again else ""
        return f"{number_of(self.runs, 'run')}{more}"


@dataclass
class Gathered:
    """Runs of several origins, each key once: that of the first origin which has it.

    folder: an empty folder for copies of predictions.
    acting: gives, for a run, its dataset's word on which settings act; None where the data is not here.
    rows: the runs.
    sources: run id -> where it is from.
    origins: name -> how many runs are taken from it.
    left_out: a line for each run that is left out.
    """

    folder: Path
    acting: Callable[[RunRow], Acting | None]
    rows: list[RunRow] = field(default_factory=list)
    sources: dict[str, Source] = field(default_factory=dict)
    origins: dict[str, Taken] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    _files: dict[str, tuple[Origin, StoredRun, RunFile, Path]] = field(default_factory=dict)

    def samples(self, run_ids: Sequence[str]) -> Mapping[str, Samples]:
        """Run id -> scores of its test samples; runs without readable predictions are left out."""
        return read_samples(run_ids, self._find, self.folder / "cache.db")

    def floors(self, run_ids: Sequence[str]) -> Mapping[str, Mapping[str, float]]:
        """Run id -> metric -> score of a constant on its test part."""
        return read_floors(run_ids, self._find)

    def add(self, name: str, origin: Origin, tell: Callable[[int, int], object] = lambda *_: None) -> None:
        """Take the finished runs of an origin. tell: takes how many of how many are read."""
        runs, _, why = movable(origin.runs())
        self.left_out += [f"{name}: {line}" for line in why]
        taken = self.origins[name] = Taken()
        known, mine = {row.key: row for row in self.rows}, {run.tags["key"]: row_of(run) for run in runs}
        keys = Keys(mine, self.acting)
        for number, run in enumerate(sorted(runs, key=lambda run: run.tags["key"])):
            check()
            tell(number, len(runs))
            row = mine[run.tags["key"]]
            reason = said.text if (said := keys.check(row)).state == "wrong" else ""
            if not reason:
                reason = _twice(row, known[row.key]) if row.key in known else self._take(name, origin, run, row)
            taken.again += row.key in known and not reason
            self.left_out += [f"{name}: {row.name} ({row.key}): {reason}"] if reason else []

    def _take(self, name: str, origin: Origin, run: StoredRun, row: RunRow) -> str:
        """Add a run; why it is left out, or an empty text."""
        if row.run_id in self.sources:
            return f"another run has its name {row.run_id}"
        try:
            file = predictions_file(origin.whole(run))
            faults = number_faults(origin, run, row, file)
        except (OSError, Malformed) as error:
            return one_line(str(error), 300)
        if file is not None and faults:
            return "; ".join(faults)
        self.rows.append(row)
        self.origins[name].runs += 1
        self.sources[row.run_id] = Source(name, faults[0] if faults else COMPUTED, file.sha256 if file else "")
        if file is not None:
            place = self.folder / f"{len(self._files)}.parquet"
            self._files[row.run_id] = origin, run, file, place
        return ""

    def _find(self, run_id: str, name: str = PREDICTIONS) -> Artifact:
        """The predictions of a run, copied when they are read; OSError where it has none.

        Whatever else an archive holds is not read: numbers follow from predictions alone.
        """
        if name != PREDICTIONS:
            return Artifact(name, None, False)
        if run_id not in self._files:
            raise FileNotFoundError("the run has no predictions")
        origin, run, file, place = self._files[run_id]

        def fetch() -> Path:
            place.write_bytes(origin.content(run, file))
            return place

        return Artifact(PREDICTIONS, None, False, file.sha256, fetch)


def _twice(row: RunRow, known: RunRow) -> str:
    """Why a second run of a key is left out; empty if it has the same result."""
    if row.value == known.value:
        return ""
    return f"test {row.metric} is {row.value} there and {known.value} in the run of the same key that is shown"
