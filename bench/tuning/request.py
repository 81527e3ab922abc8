"""What a search is asked for, and what it comes down to: the methods in stages, the settings of every trial."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.making import make_dataset
from mcr_bench.bench.catalog.presets import preset_of, presets_of, user_presets
from mcr_bench.bench.catalog.resolve import layered
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.planning.plan import Plan, make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.problem.metrics import metric
from mcr_bench.bench.settings.declaration import Declared, Value
from mcr_bench.bench.tuning.result import Search
from mcr_bench.bench.tuning.spaces import draws, spaces

if TYPE_CHECKING:
    from mcr_bench.bench.runs.spec import RunSpec
    from mcr_bench.methods.base import Method

FIRST_SEED = 1000  # comparisons count seeds from 0: tuned settings are compared on seeds that did not choose them
ORIGIN = "tuned-here@"


@dataclass
class TuneRequest:
    """A search as asked for. trials: per method, the preset's own settings among them. seeds: how many, from 1000.

    overrides: settings that are the same in every trial, one value each; what is set here is not searched. name: of
    the preset; None: `tuned@TRIALS` and whatever else is not the default.
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
        """The runs of one trial of these methods; a fixed setting of another method is left out."""
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
    """One method to be searched. runs: per trial; settings: of every trial, trial 0 first."""

    source: str
    cls: "type[Method]"
    starts_from: frozenset[str]
    runs: int
    searched: Mapping[str, Declared]
    settings: list[dict[str, Value]]

    @property
    def name(self) -> str:
        return self.cls.name


def prepare(request: TuneRequest, home: Path) -> tuple[Search, list[list[Subject]], list[tuple[str, str, str]]]:
    """What is searched, its methods in stages, and (dataset, method, reason) of those left out."""
    _check(request)
    plan = make_plan(request.comparison(request.methods))
    return _search(request, plan, home), _stages(_subjects(request, plan)), plan.skipped


def _check(request: TuneRequest) -> None:
    if request.trials < 2:
        raise UserError(f"--trials {request.trials}: nothing to search. Trial 0 is the preset; give a number >= 2.")
    if request.seeds < 1:
        raise UserError(f"--seeds {request.seeds}: nothing to train. Give a number of seeds >= 1.")
    for key, values in request.overrides.items():
        if len(values) != 1:
            raise UserError(f"--set {key}={','.join(values)}: a search takes one value per setting. Give one.")


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
    """Only presets that a search has written are replaced."""
    presets = presets_of(registry.dataset(request.dataset), request.dataset, home)
    mine = user_presets(label, home)
    if name in presets and not (name in mine and mine[name].origin.startswith(ORIGIN)):
        raise UserError(f"preset '{name}' of {label} was not tuned here and is not replaced. Choose another --name.")


def _subjects(request: TuneRequest, plan: Plan) -> dict[str, Subject]:
    """The methods of the plan's runs, with those that they start from."""
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
    """The methods that this run starts from, and those that they start from."""
    names = {dependency.method for dependency in run.dependencies}
    return frozenset(names.union(*(_before(dependency) for dependency in run.dependencies)))


def _stages(subjects: Mapping[str, Subject]) -> list[list[Subject]]:
    """Groups that can be searched at once, each after what it starts from."""
    left, done, stages = dict(subjects), set[str](), list[list[Subject]]()
    while left:
        stages.append([subject for subject in left.values() if subject.starts_from <= done])
        done |= {subject.name for subject in stages[-1]}
        left = {name: subject for name, subject in left.items() if name not in done}
    return stages


def _plain(text: str) -> Value:
    """Text of the command line as TOML should hold it: numbers and truth values bare."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) and math.isfinite(value) else text
