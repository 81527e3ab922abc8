"""Compare the runs of a record with published numbers: a verdict, or why there is none and what would give one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt

from mcr_bench.bench.analysis.comparisons import current, overlap_of
from mcr_bench.bench.analysis.published import Column, Number, Ours, PublishedMethod, PublishedTable
from mcr_bench.bench.analysis.sizes import split_sizes
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.presets import presets_of
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.runs.overrides import settings_in
from mcr_bench.bench.statistics.intervals import Interval, mean_interval
from mcr_bench.bench.statistics.verdict import verdict

LEVEL = 0.95
NOT_OFFERED, NOT_COMPARABLE, NOT_RUN = "not offered", "not comparable", "not run"


@dataclass(frozen=True)
class Target:
    """The runs that a published number is compared with.

    method: the name of our method.
    place: dataset, protocol, preset and the other facts of the column.
    modalities: the modalities of the runs; for unimodal runs one of those in `place`.
    settings: the texts of `--set`.
    """

    method: str
    place: Ours
    modalities: frozenset[str]
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """How our runs compare with a published number; all values are in points.

    word: the verdict, or the word for its absence, such as `not run`.
    reasons: why there is no verdict.
    target: the runs that the number is compared with; None if it is not offered.
    values: the values of these runs.
    interval: the interval of their mean.
    delta: our mean minus the published one.
    delta_interval: the interval of that difference.
    samples: the sizes of the parts that the runs used.
    """

    word: str
    reasons: tuple[str, ...] = ()
    target: Target | None = None
    values: tuple[float, ...] = ()
    interval: Interval | None = None
    delta: float | None = None
    delta_interval: Interval | None = None
    samples: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """The command that trains the missing runs; empty if there are runs, or if none can be trained here."""
        return command([self.target]) if self.target and not self.values else ""


@dataclass(frozen=True)
class Setup:
    """What must be equal for runs to be compared with a published number.

    protocol: the protocol.
    preset: the preset.
    modalities: the modalities.
    settings: the texts of `--set`.
    """

    protocol: str
    preset: str
    modalities: frozenset[str]
    settings: frozenset[str]

    def against(self, other: "Setup") -> list[tuple[str, str, str]]:
        """(name, this setup's value, the other's value) of every part that differs."""
        parts = [
            ("protocol", self.protocol, other.protocol),
            ("preset", self.preset, other.preset),
            ("modalities", _joined(self.modalities), _joined(other.modalities)),
            ("settings", _joined(self.settings), _joined(other.settings)),
        ]
        return [part for part in parts if part[1] != part[2]]


class Runs:
    """The finished runs of a record, by dataset, method and setup.

    by_target: (dataset, method) -> setup -> the runs with its newest settings and code, one per seed and fold.
    """

    def __init__(self, rows: Iterable[RunRow]) -> None:
        groups: dict[tuple[str, str], dict[Setup, list[RunRow]]] = {}
        for row in sorted(rows, key=lambda row: row.order):
            if row.finished:
                setups = groups.setdefault((row.dataset, row.method), {})
                for setup in _setups(row):
                    setups.setdefault(setup, []).append(row)
        self.by_target = {
            key: {setup: current(runs) for setup, runs in setups.items()} for key, setups in groups.items()
        }

    def of(self, target: Target) -> dict[Setup, list[RunRow]]:
        """Setup -> runs, for every setup in which the target's method has runs on its dataset."""
        return self.by_target.get((target.place.dataset, target.method), {})


def answers(table: PublishedTable, runs: Runs, margin: float) -> dict[tuple[str, str], Answer]:
    """(title of the method, title of the column) -> the answer, for every number of a table, in its order."""
    lacking = {method.title: _no_method(method) for method in table.methods}
    given = {}
    for column in table.columns:
        nowhere = _no_place(column)
        for method in table.methods:
            place = (method.title, column.title)
            if place in table.numbers:
                missing = (*nowhere, *lacking[method.title])
                given[place] = _answer(table.numbers[place], table.ddof, method, column, missing, runs, margin)
    return given


def command(targets: Sequence[Target]) -> str:
    """The command that trains targets with the same place and settings."""
    place, settings = targets[0].place, targets[0].settings
    parts = ["mcr-bench run", f"--methods {','.join(dict.fromkeys(t.method for t in targets))}"]
    parts += [f"--dataset {place.dataset}", f"--protocol {place.protocol}", f"--preset {place.preset}"]
    parts += [f"--modalities {','.join(place.modalities)}"] if place.subset else []
    parts += [f"--seeds {place.seeds}"] if place.seeds else []
    return " ".join([*parts, *(f"--set {text}" for text in settings)])


def _answer(
    number: Number,
    ddof: int | None,
    method: PublishedMethod,
    column: Column,
    missing: tuple[str, ...],
    runs: Runs,
    margin: float,
) -> Answer:
    place = column.ours
    if missing or place is None:
        return Answer(NOT_OFFERED, missing)
    target = Target(method.method, place, _modalities(method, place), (*place.settings, *method.settings))
    wanted = Setup(place.protocol, place.preset, target.modalities, frozenset(target.settings))
    setups = runs.of(target)
    fitting = setups.get(wanted, [])
    values, overlap = tuple(values_in_points(fitting, place.metric)), overlap_of(fitting)
    declared = tuple(reason for reason in (column.not_comparable, method.not_comparable) if reason)
    if declared or not values:
        word, reasons = _without_verdict(declared, wanted, setups, place.metric)
        interval = mean_interval(values, LEVEL, overlap) if values else None
        return Answer(word, reasons, target, values, interval, samples=tuple(split_sizes(fitting)))
    spread = sample_sd(number, ddof)
    judged = verdict(values, number.mean, spread, number.n_runs, margin=margin, level=LEVEL, overlap=overlap)
    interval = mean_interval(values, LEVEL, overlap)
    samples = tuple(split_sizes(fitting))
    return Answer(judged.word, (), target, values, interval, judged.difference, judged.interval, samples)


def sample_sd(number: Number, ddof: int | None) -> float | None:
    """The published std as a sample standard deviation (n - 1); None if there is no std, or only one run."""
    if number.std is None or number.n_runs is None or ddof is None or number.n_runs < 2:
        return None
    return number.std * sqrt((number.n_runs - ddof) / (number.n_runs - 1))


def _without_verdict(
    declared: tuple[str, ...], wanted: Setup, setups: dict[Setup, list[RunRow]], metric: str
) -> tuple[str, tuple[str, ...]]:
    if declared:
        return NOT_COMPARABLE, declared
    if wanted in setups:
        return NOT_COMPARABLE, (f"our runs record no {metric}",)
    if not setups:
        return NOT_RUN, ()
    nearest = min(setups, key=lambda setup: len(setup.against(wanted)))
    parts = nearest.against(wanted)
    mine = ", ".join(f"{what} {ours}" for what, ours, _ in parts)
    theirs = ", ".join(f"{what} {published}" for what, _, published in parts)
    return NOT_COMPARABLE, (f"our runs are on {mine}; published: {theirs}",)


def _no_place(column: Column) -> tuple[str, ...]:
    place = column.ours
    if place is None:
        return (column.not_offered,)
    if place.dataset not in registry.dataset_names():
        return (f"no dataset '{place.dataset}' here",)
    if place.preset not in presets_of(registry.dataset(place.dataset)):
        return (f"dataset '{place.dataset}' has no preset '{place.preset}' here",)
    return ()


def _no_method(method: PublishedMethod) -> tuple[str, ...]:
    if method.not_offered:
        return (method.not_offered,)
    return () if method.method in registry.method_names() else (f"no method '{method.method}' here",)


def _modalities(method: PublishedMethod, place: Ours) -> frozenset[str]:
    if isinstance(method.modality, int):
        return frozenset(place.modalities[method.modality - 1 : method.modality])
    return frozenset([method.modality] if method.modality else place.modalities)


def _setups(row: RunRow) -> list[Setup]:
    """The setups of a run: one for each preset under which it was requested."""
    modalities = frozenset(row.modalities)
    return [
        Setup(row.protocol, preset, modalities, frozenset(settings_in(asked.overrides)))
        for preset, asked in row.asked.items()
    ]


def values_in_points(runs: Iterable[RunRow], metric: str) -> list[float]:
    """The finite test values of a metric, times 100; values that are missing are left out."""
    values = (row.metrics.get(f"test/{metric}") for row in runs)
    return [100 * value for value in values if value is not None and isfinite(value)]


def _joined(texts: Iterable[str]) -> str:
    return " + ".join(sorted(texts)) or "none"
