"""The plan of a comparison: methods x datasets x settings x seeds, with the runs that these start from, once each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING

from mcr_bench.bench.catalog.making import fingerprint_of, placed
from mcr_bench.bench.catalog.presets import Preset, preset_of
from mcr_bench.bench.catalog.resolve import layered, resolve_dataset
from mcr_bench.bench.core.process_state import process_state_kept
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.planning.absent import Absent, absent_methods, absent_runs, missing_dataset
from mcr_bench.bench.planning.advice.idle import idle_settings
from mcr_bench.bench.planning.advice.seed_advice import seed_advice
from mcr_bench.bench.planning.family import family_line
from mcr_bench.bench.planning.overview import Overview, overview
from mcr_bench.bench.planning.request import DatasetSetup, Request
from mcr_bench.bench.planning.specs import own_encoders, padding_notes, reason_against, specs_of
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.settings.declaration import Value

if TYPE_CHECKING:
    from mcr_bench.methods.base import Method


@dataclass
class Plan:
    """The runs of one or more comparisons.

    by_key: key -> its run; a run comes after those that it starts from.
    skipped_under: (dataset, method, reason) of the methods that cannot run -> the presets under which they cannot.
    announcements: what a reader should know before the runs begin.
    requested: the keys of the runs that were requested; all others are runs that these start from.
    by_preset: key -> preset -> its run as requested under that preset; the settings of two presets may be equal.
    absent: the runs of optional comparisons that cannot be made here.
    overviews: a description of each dataset.
    """

    by_key: dict[str, RunSpec] = field(default_factory=dict)
    skipped_under: dict[tuple[str, str, str], set[str]] = field(default_factory=dict)
    announcements: list[str] = field(default_factory=list)
    requested: set[str] = field(default_factory=set)
    by_preset: dict[str, dict[str, RunSpec]] = field(default_factory=dict)
    absent: list[Absent] = field(default_factory=list)
    overviews: list[Overview] = field(default_factory=list)

    @property
    def skipped(self) -> list[tuple[str, str, str]]:
        """(dataset, method, reason) of the methods that cannot run, under whichever preset."""
        return list(self.skipped_under)

    @property
    def runs(self) -> list[RunSpec]:
        """All runs; a run comes after those that it starts from."""
        return list(self.by_key.values())

    def add(self, run: RunSpec, *, requested: bool) -> None:
        """Add a run after those that it starts from; a run that the plan has already is only marked as requested.

        Whether it is in the family of the primary test is said by the first request of it: what only others start from
        is in none.
        """
        for dependency in run.dependencies:
            self.add(dependency, requested=False)
        known = self.by_key.setdefault(run.key, run)
        if known is not run and requested and run.key not in self.requested:
            self.by_key[run.key] = replace(known, primary=run.primary)
        self.by_preset.setdefault(run.key, {}).setdefault(run.preset, run)
        if requested:
            self.requested.add(run.key)

    def merge(self, other: "Plan") -> None:
        """Add everything of another plan that this one does not have."""
        for run in (run for presets in other.by_preset.values() for run in presets.values()):
            self.add(run, requested=run.key in other.requested)
        for skip, presets in other.skipped_under.items():
            self.skipped_under.setdefault(skip, set()).update(presets)
        self.announcements += [line for line in other.announcements if line not in self.announcements]
        self.absent += [absent for absent in other.absent if absent not in self.absent]
        self.overviews += [one for one in other.overviews if one not in self.overviews]

    def require_runs(self) -> None:
        """UserError with the reasons if there is no run."""
        if not self.by_key:
            reasons = [f"{method} on {dataset}: {reason}" for dataset, method, reason in self.skipped]
            raise UserError(f"nothing to run: {'; '.join([*reasons, *(absent.text for absent in self.absent)])}.")


def make_plan(request: Request) -> Plan:
    """The plan of a request. UserError for anything in it that is unknown, does not fit, or gives no run."""
    plan = make_plan_of([request])
    plan.require_runs()
    return plan


def make_plan_of(requests: Sequence[Request]) -> Plan:
    """One plan of several comparisons, with every run once. UserError as in `make_plan`, with the place in a file.

    The plan may have no runs if all comparisons are optional and nothing of them can be made here.
    """
    plan, named = Plan(), dict[str, Request]()
    for request in requests:
        try:
            with process_state_kept():  # users' methods are imported here; the workers inherit from this process
                part = _plan(request)
                _check_families(part, request, named)
                plan.merge(part)
        except UserError as error:
            raise UserError(request.locate(str(error))) from error
    if not plan.absent:
        plan.require_runs()
    plan.announcements += seed_advice(plan.runs)
    plan.announcements += idle_settings(plan.runs, {s: cls for one in requests for s, cls in one.classes.methods})
    return plan


def _check_families(plan: Plan, request: Request, named: dict[str, Request]) -> None:
    """UserError for a run that an earlier request has too, in the named family of only one of them.

    Of requests that do not both name a family, the first decides.

    plan: that of the request. named: key -> the first request of it that names a family; this one's are added.
    """
    if request.family is None:
        return
    for run in (plan.by_key[key] for key in sorted(plan.requested) if plan.by_key[key].role != "unimodal"):
        families = request.primary, named.setdefault(run.key, request).primary
        if (run.method in families[0]) != (run.method in families[1]):
            mine, earlier = (", ".join(sorted(family)) for family in families)
            raise UserError(
                f"--family: {run.method}: its run on {run.dataset} with seed {run.seed} is of two comparisons, and "
                f"belongs to the family of one: here it is {mine}, and in the earlier one {earlier}. A run is trained "
                "and recorded once, inside the family or outside it. Give both comparisons a `family` with "
                f"{run.method}, or both one without."
            )


def _plan(request: Request) -> Plan:
    plan, methods = Plan(), request.classes.methods
    for name in request.datasets:
        if request.optional:
            plan.absent += absent_methods(request, name)
        reason = missing_dataset(request, name) if request.optional else None
        if reason is None:
            reason = _add_dataset(plan, name, request)
        if reason is not None:
            plan.absent.append(absent_runs(request, name, reason, (cls for _, cls in methods), _points(request)))
    plan.announcements += request.classes.left_out
    trained = {plan.by_key[key].method for key in plan.requested}
    compared = [cls for _, cls in methods if cls.name in trained or not trained]
    plan.announcements += filter(None, [family_line(compared, request.primary)])
    _check_owners(request, {cls.name for _, cls in methods} | {run.method for run in plan.runs}, plan)
    return plan


def _add_dataset(plan: Plan, name: str, request: Request) -> str | None:
    """Add the runs on one dataset. For an optional request, the reason why its data cannot be used, if there is one."""
    cls = request.classes.datasets[name]
    preset, setups = preset_of(cls, request.preset, name), dict[str, DatasetSetup]()
    for point in _points(request):
        values = layered(preset.values, point, request.classes.owners)
        dials = resolve_dataset(values, cls)
        if repr(dials) not in setups:
            if request.optional and (reason := _data_missing(name, request, dials)):
                return reason
            setups[repr(dials)] = _set_up(name, request, preset, dials)
            if reason := _part_missing(setups[repr(dials)], request):
                return reason
        setup = setups[repr(dials)]
        _announce(plan, setup, request)
        for source, method in request.classes.methods:
            _add_method(plan, source, method, setup, values, point, request)
    own, runs = own_encoders(plan.runs), _by_data(plan.runs)
    for setup in setups.values():
        plan.overviews.append(_overview(runs.get(_data(setup), []), setup, _pairs(setup, request)))
        plan.announcements += [note for note in padding_notes(own, setup) if note not in plan.announcements]
    return None


def _by_data(runs: Iterable[RunSpec]) -> dict[str, list[RunSpec]]:
    """Dataset and its settings -> the runs on it."""
    groups: dict[str, list[RunSpec]] = {}
    for run in runs:
        groups.setdefault(f"{run.dataset} {run.dataset_settings}", []).append(run)
    return groups


def _data(setup: DatasetSetup) -> str:
    return f"{setup.data.label} {setup.dials}"


def _overview(runs: Sequence[RunSpec], setup: DatasetSetup, pairs: Sequence[tuple[int, int]]) -> Overview:
    """The overview of a setup, with the encoders of its runs, and the labels for the first seed of every fold."""
    kinds = {m: sorted({str(r.encoders[m]["kind"]) for r in runs if m in r.encoders}) for m in setup.modalities}
    first = {fold: seed for seed, fold in reversed(pairs)}
    labels = {fold: setup.data.labels(setup.protocol.name, fold, seed) for fold, seed in first.items()}
    return overview(
        setup.facts,
        dict(sorted(labels.items())),
        setup.data.findings(),
        dataset=setup.data.label,
        protocol=setup.protocol.name,
        folds=len(setup.protocol.folds),
        modalities=setup.modalities,
        encoders={m: names for m, names in kinds.items() if names},
    )


def _add_method(
    plan: Plan,
    source: str,
    cls: "type[Method]",
    setup: DatasetSetup,
    values: Mapping[str, object],
    point: Mapping[str, str],
    request: Request,
) -> None:
    reason = reason_against(cls, setup, values, point)
    if reason is None:
        for run in specs_of(source, cls, setup, values, point, _pairs(setup, request)):
            plan.add(run, requested=True)
    else:
        plan.skipped_under.setdefault((setup.data.label, cls.name, reason), set()).add(setup.preset.name)


def _data_missing(name: str, request: Request, dials: Mapping[str, Value]) -> str | None:
    cls = request.classes.datasets[name]
    try:
        facts = placed(cls, name, request.data_root, dials).facts()
    except UserError as error:
        return _in_short(error)
    lacking = [m for m in request.modalities or () if m in cls.optional and m not in facts.modalities]
    return f"data missing: {name} was prepared without {' and '.join(lacking)}" if lacking else None


def _part_missing(setup: DatasetSetup, request: Request) -> str | None:
    """Why a requested fold cannot be run, if it cannot; a UserError unless the request is optional."""
    try:
        for fold in sorted({fold for _, fold in _pairs(setup, request)}):
            setup.data.require(setup.protocol.name, fold)
    except UserError as error:
        if not request.optional:
            raise
        return _in_short(error)
    return None


def _in_short(error: UserError) -> str:
    return f"data missing: {str(error).splitlines()[0]}"


def _check_owners(request: Request, running: set[str], plan: Plan) -> None:
    """UserError for a setting of a method that this command does not run, as it would have no effect.

    If something is absent there is no error, as the setting may belong to a run that cannot be made here.
    """
    for key in dict.fromkeys([*request.overrides, *(key for point in request.points for key in point)]):
        head = key.partition(".")[0]
        if head in request.classes.owners and head not in running and not plan.absent:
            names = ", ".join(sorted(running))
            raise UserError(f"--set {key}: method '{head}' is not part of this command; its methods are {names}.")


def _points(request: Request) -> list[dict[str, str]]:
    """Every point combined with every combination of the overrides, whose keys come first."""
    grid = [dict(zip(request.overrides, values, strict=True)) for values in product(*request.overrides.values())]
    return [fixed | dict(point) for point, fixed in product(request.points or [{}], grid)]


def _set_up(name: str, request: Request, preset: Preset, dials: dict[str, Value]) -> DatasetSetup:
    data = placed(request.classes.datasets[name], name, request.data_root, dials)
    facts = data.facts()
    protocols = data.protocols()
    protocol = request.protocol or next(iter(protocols))
    if protocol not in protocols:
        raise unknown(f"protocol of {data.label}", protocol, protocols)
    modalities = _subset(data.label, tuple(facts.modalities), request.modalities)
    fingerprint, classes = fingerprint_of(data), request.classes
    return DatasetSetup(
        name,
        data,
        classes,
        dials,
        facts,
        protocols[protocol],
        modalities,
        preset,
        fingerprint,
        request.data_root,
        request.primary,
    )


def _subset(label: str, offered: tuple[str, ...], asked: tuple[str, ...] | None) -> tuple[str, ...]:
    """The requested modalities in the dataset's order, so that the order of the request does not matter."""
    for m in asked or ():
        if m not in offered:
            raise unknown(f"modality of {label}", m, offered)
    return tuple(m for m in offered if asked is None or m in asked)


def _pairs(setup: DatasetSetup, request: Request) -> list[tuple[int, int]]:
    """(seed, fold) of every repetition: as requested, or the preset's pairs, or fold s mod F for seed s."""
    folds = setup.protocol.folds
    for fold in [request.fold] if request.fold is not None else [fold for _, fold in request.pairs or ()]:
        if fold not in folds:
            raise UserError(
                f"--fold {fold}: protocol '{setup.protocol.name}' of {setup.data.label} has folds {list(folds)}."
            )
    if request.pairs is not None:
        return list(request.pairs)
    if request.seeds is None and request.fold is None and setup.preset.pairs:
        return list(setup.preset.pairs)
    seeds = request.seeds if request.seeds is not None else range(setup.preset.seeds)
    return [(s, request.fold if request.fold is not None else folds[s % len(folds)]) for s in seeds]


def _announce(plan: Plan, setup: DatasetSetup, request: Request) -> None:
    """Add what a reader should know before the runs begin."""
    pairs = _pairs(setup, request)
    counts = [sum(fold == f for _, fold in pairs) for f in setup.protocol.folds]
    lines = [f"{setup.data.label}: {note}." for note in setup.facts.notes]
    if request.fold is None and len(set(counts)) > 1:
        lines.append(
            f"{setup.data.label}: {len(pairs)} seeds over {len(counts)} folds are unbalanced: runs per fold {counts}."
        )
    plan.announcements += [line for line in lines if line not in plan.announcements]
