"""Runs that are finished on record under another key, because their method or this program has changed since."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mcr_bench import __version__
from mcr_bench.bench.record.entities import name_of
from mcr_bench.bench.record.row import OURS, RunRow
from mcr_bench.bench.runs.spec import RunSpec

Place = tuple[str, str, tuple[str, ...], int, int]


def trained_again(wanted: Sequence[RunSpec], rows: Iterable[RunRow]) -> list[str]:
    """One sentence with the number of runs to train that are finished under another key; empty if there are none.

    A recorded run counts if it has the same method, data, protocol, modalities, seed and fold, the same value of every
    setting that both have, and starts from such runs. Its results stay on record.
    """
    record = _Finished.of(rows)
    count = sum(map(record.holds_older, wanted))
    if not count:
        return []
    if count == 1:
        return ["1 run is finished on record with another version of its code or of mcr-bench, and is trained again."]
    which = "another version of their code or of mcr-bench"
    return [f"{count} runs are finished on record with {which}, and are trained again."]


@dataclass(frozen=True)
class _Finished:
    """The finished rows by what they are of."""

    rows: dict[Place, list[RunRow]]

    @classmethod
    def of(cls, rows: Iterable[RunRow]) -> "_Finished":
        by_place = defaultdict[Place, list[RunRow]](list)
        for row in rows:
            if row.finished:
                by_place[_place_of(row)].append(row)
        return cls(by_place)

    def holds_older(self, run: RunSpec) -> bool:
        """Whether the run is on record with another version of its method, of the program or of what it starts from."""
        return any(self._is_older(row, run) for row in self.rows.get(_place(run), []))

    def _is_older(self, row: RunRow, run: RunSpec) -> bool:
        others = [needed for needed in run.dependencies if needed.key not in row.dependencies]
        asked = _asked(run)
        version = (row.method_digest, row.versions.get(OURS))
        if version == (run.method_digest, __version__) and not others and _agrees(row, asked, digests=True):
            return False
        return _agrees(row, asked, digests=False) and all(map(self.holds_older, others))


def _place(run: RunSpec) -> Place:
    return run.method, run.data_identity, run.modalities, run.seed, run.fold


def _place_of(row: RunRow) -> Place:
    return row.method, row.data_identity, row.modalities, row.seed, row.fold


def _asked(run: RunSpec) -> dict[str, str]:
    return {name_of(key): value for key, value in run.params().items() if key not in run.rounding}


def _agrees(row: RunRow, asked: Mapping[str, str], digests: bool) -> bool:
    """Whether the settings that both have are the same; `digests`: those of users' encoders and heads as well."""
    both = {key for key in asked.keys() & row.settings.keys() if digests or not key.endswith("_digest")}
    return all(asked[key] == str(row.settings[key]) for key in both)
