"""The request for a search, and what follows from it: the methods in stages, and the settings of every trial."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.making import make_dataset
from mcr_bench.bench.catalog.presets import preset_of, presets_of, user_presets
from mcr_bench.bench.catalog.resolve import layered
from mcr_bench.bench.core.inputs.texts import json_of
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.planning.advice.idle import idle_settings
from mcr_bench.bench.planning.plan import Plan, make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.problem.metrics import metric
from mcr_bench.bench.settings.declaration import Declared, Value
from mcr_bench.bench.tuning.result import Search
from mcr_bench.bench.tuning.spaces import draws, spaces

if TYPE_CHECKING:
    from mcr_bench.bench.runs.spec import RunSpec
    from mcr_bench.methods.base import Method

FIRST_SEED = 1000  # comparisons count seeds from 0, so tuned settings are compared on seeds that the search did not use
ORIGIN = "tuned-here@"


@dataclass
class TuneRequest:
    """A search as it is requested.

    methods: names of methods, files that define one, or `all`.
    dataset: the name of the dataset, or its file.
    trials: the number of trials per method, including that with the preset's own settings.
    seeds: the number of seeds per trial; they start at 1000.
    data_root: the folder of prepared datasets.
    modalities: the modalities; None for all.
    fold: the fold of every seed; None if folds take turns.
    protocol: the protocol; None for the dataset's first.
    preset: the preset to start from; None for the dataset's first.
    overrides: settings that are fixed in all trials, with one value each.
    name: the name of the preset to write; None for `tuned@TRIALS` and everything that is not the default.
    """

    methods: list[str]
    dataset: str
    trials: int = 20
    seeds: int = 1
    data_root: Path = Path("data")
    modalities: tuple[str, ...] | None = None
    fold: int | None = None
    protocol: str | None = None
    preset: str | None = None
    overrides: Mapping[str, list[str]] = field(default_factory=dict)
    name: str | None = None

    def comparison(self, methods: list[str], settings: Mapping[str, Value] | None = None) -> Request:
        """The request for the runs of one trial of these methods, with the settings of the trial."""
        return Request(
            methods=methods,
            datasets=[self.dataset],
            data_root=self.data_root,
            modalities=self.modalities,
            seeds=[FIRST_SEED + i for i in range(self.seeds)],
            fold=self.fold,
            protocol=self.protocol,
            preset=self.preset,
            overrides={**self.overrides, **{key: [str(value)] for key, value in (settings or {}).items()}},
        )


@dataclass(frozen=True)
class Subject:
    """A method whose settings are searched.

    source: its name, or the file that defines it.
    cls: its class.
    starts_from: the methods whose runs it starts from.
    runs: the number of runs of a trial.
    searched: key -> the declaration of each setting that is varied.
    settings: the settings of every trial; those of trial 0 are empty.
    """

    source: str
    cls: "type[Method]"
    starts_from: frozenset[str]
    runs: int
    searched: Mapping[str, Declared]
    settings: list[dict[str, Value]]

    @property
    def name(self) -> str:
        return self.cls.name


class Prepared(NamedTuple):
    """What follows from a request.

    search: the search.
    stages: its methods in stages.
    skipped: (dataset, method, reason) of the methods that are left out.
    notes: what to tell before training: the settings that do nothing.
    """

    search: Search
    stages: list[list[Subject]]
    skipped: list[tuple[str, str, str]]
    notes: list[str]


def prepare(request: TuneRequest, home: Path) -> Prepared:
    """What follows from a request; nothing is trained or written."""
    _check(request)
    plan = make_plan(request.comparison(request.methods))
    subjects = _subjects(request, plan)
    notes = idle_settings(plan.runs, {one.source: one.cls for one in subjects.values()})
    return Prepared(_search(request, plan, home), _stages(subjects), plan.skipped, notes)


def _check(request: TuneRequest) -> None:
    if request.trials < 2:
        raise UserError(
            f"--trials {request.trials}: nothing to search, as trial 0 has the preset's own settings. Give a number "
            ">= 2."
        )
    if request.seeds < 1:
        raise UserError(f"--seeds {request.seeds}: nothing to train. Give a number of seeds >= 1.")
    for key, values in request.overrides.items():
        if len(values) != 1:
            raise UserError(f"--set {key}={','.join(values)}: in a search a setting has one value. Give one value.")


def _search(request: TuneRequest, plan: Plan, home: Path) -> Search:
    run = plan.runs[0]
    cls = registry.dataset(request.dataset)
    base = preset_of(cls, request.preset, request.dataset, home)
    data = make_dataset(request.dataset, request.data_root, run.dataset_settings)
    facts = data.facts()
    modalities = tuple(m for m in facts.modalities if request.modalities is None or m in request.modalities)
    other = {
        base.name: base.name != preset_of(cls, None).name,
        "+".join(modalities): modalities != tuple(facts.modalities),
        run.protocol: run.protocol != next(iter(data.protocols())),
        f"fold{request.fold}": request.fold is not None,
        **{f"{key}={value}": True for key, (value,) in request.overrides.items()},
    }
    name = request.name or ":".join([f"tuned@{request.trials}", *(text for text, said in other.items() if said)])
    _check_name(name, request, run.dataset, home)
    folds = {r.seed: r.fold for r in plan.runs}
    return Search(
        dataset=run.dataset,
        protocol=run.protocol,
        modalities=modalities,
        metric=run.metric,
        higher_is_better=metric(run.metric, facts.task).higher_is_better,
        trials=request.trials,
        seeds=tuple(folds),
        folds=tuple(folds.values()),
        fingerprint=run.fingerprint,
        base=base,
        values=layered(base.values, {key: _plain(value) for key, (value,) in request.overrides.items()}),
        preset=name,
    )


def _check_name(name: str, request: TuneRequest, label: str, home: Path) -> None:
    """UserError if the name is that of a preset that no search has written, as such presets are not replaced."""
    presets = presets_of(registry.dataset(request.dataset), request.dataset, home)
    mine = user_presets(label, home)
    if name in presets and not (name in mine and mine[name].origin.startswith(ORIGIN)):
        raise UserError(f"preset '{name}' of {label} was not tuned here and is not replaced. Choose another --name.")


def _subjects(request: TuneRequest, plan: Plan) -> dict[str, Subject]:
    """Name -> method, for the methods of the plan's runs and those that they start from."""
    subjects: dict[str, Subject] = {}
    for run in plan.runs:
        cls = registry.method(run.source)
        if cls.name not in subjects:
            searched = spaces(cls, request.overrides)
            settings = [{}, *(draws(cls, searched, request.trials - 1) if searched else [])]
            count = sum(other.method == cls.name for other in plan.runs)
            subjects[cls.name] = Subject(run.source, cls, _before(run) - {cls.name}, count, searched, settings)
    return subjects


def _before(run: "RunSpec") -> frozenset[str]:
    """The methods whose runs this run starts from, directly or indirectly."""
    names = {dependency.method for dependency in run.dependencies}
    return frozenset(names.union(*(_before(dependency) for dependency in run.dependencies)))


def _stages(subjects: Mapping[str, Subject]) -> list[list[Subject]]:
    """The methods in groups that can be searched at the same time; a method comes after those that it starts from."""
    left, done, stages = dict(subjects), set[str](), list[list[Subject]]()
    while left:
        stages.append([subject for subject in left.values() if subject.starts_from <= done])
        done |= {subject.name for subject in stages[-1]}
        left = {name: subject for name, subject in left.items() if name not in done}
    return stages


def _plain(text: str) -> Value:
    """A text of the command line as a value for TOML: a number or truth value if it is one, otherwise text."""
    try:
        value = json_of(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) and math.isfinite(value) else text
