"""The plan of a comparison: methods x datasets x settings x seeds, with the runs they depend on, each run once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mcr_bench.bench import registry
from mcr_bench.bench.digest import source_digest
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.metrics import metric
from mcr_bench.bench.models.build import build_model, encoder_kind
from mcr_bench.bench.models.multimodal import MultimodalModel
from mcr_bench.bench.presets import Preset, preset_of
from mcr_bench.bench.resolve import Resolved, concerns, layered, resolve_dataset, resolve_run
from mcr_bench.bench.runs import RunSpec
from mcr_bench.bench.settings import build
from mcr_bench.bench.training_settings import EncoderSettings, ModelSettings

if TYPE_CHECKING:
    from mcr_bench.datasets.base import Dataset, Facts, Protocol
    from mcr_bench.methods.base import Method


@dataclass
class Request:
    """A comparison as asked for. overrides: dotted key -> one or more values (a grid); seeds None: the preset's."""

    methods: list[str]
    datasets: list[str]
    data_root: Path = Path("data")
    modalities: tuple[str, ...] | None = None
    seeds: list[int] | None = None
    fold: int | None = None
    protocol: str | None = None
    preset: str | None = None
    overrides: Mapping[str, list[str]] = field(default_factory=dict)


@dataclass
class Plan:
    """by_key: the runs, dependencies first. skipped: (dataset, method, reason). requested: keys asked for by name."""

    by_key: dict[str, RunSpec] = field(default_factory=dict)
    skipped: list[tuple[str, str, str]] = field(default_factory=list)
    announcements: list[str] = field(default_factory=list)
    requested: set[str] = field(default_factory=set)

    @property
    def runs(self) -> list[RunSpec]:
        """Every run once, dependencies first."""
        return list(self.by_key.values())

    def add(self, run: RunSpec, *, requested: bool) -> None:
        """A run after its dependencies; a run that is there already is only marked."""
        for dependency in run.dependencies:
            self.add(dependency, requested=False)
        self.by_key.setdefault(run.key, run)
        if requested:
            self.requested.add(run.key)


@dataclass
class Scene:
    """One dataset with its dials set, under one protocol: what every run of a comparison on it shares."""

    name: str
    data: "Dataset"
    dials: dict[str, Any]
    facts: "Facts"
    protocol: "Protocol"
    modalities: tuple[str, ...]
    preset: Preset
    fingerprint: str
    data_root: Path


def make_plan(request: Request) -> Plan:
    """Every run that the request asks for; UserError for anything in it that is unknown or does not fit."""
    plan = Plan()
    methods = _methods(request.methods)
    for name, point in product(request.datasets, _grid(request.overrides)):
        preset = preset_of(registry.dataset(name), request.preset)
        values = layered(preset.values, point)
        scene = _scene(name, request, preset, values)
        _announce(plan, scene, request)
        for source, cls in methods:
            reason = _reason(cls, scene, values)
            if reason is None:
                for run in _runs(source, cls, scene, values, point, request):
                    plan.add(run, requested=True)
            elif (skip := (scene.data.label, cls.name, reason)) not in plan.skipped:
                plan.skipped.append(skip)
    _check_owners(request, {cls.name for _, cls in methods} | {run.method for run in plan.runs})
    if not plan.runs:
        reasons = "; ".join(f"{method} on {dataset}: {reason}" for dataset, method, reason in plan.skipped)
        raise UserError(f"nothing to run: {reasons}.")
    return plan


def make_dataset(name: str, data_root: Path, dials: Mapping[str, Any]) -> "Dataset":
    """The adapter, placed at the user's file or at DATA_ROOT/NAME."""
    cls = registry.dataset(name)
    location = Path(name) if cls.suffixes else data_root / cls.name
    return build(cls, dials, location=location)


def _methods(names: list[str]) -> "list[tuple[str, type[Method]]]":
    """(source, class) of each method asked for, without doubles, in the order given."""
    expanded = [n for name in names for n in (registry.method_names() if name == "all" else [name])]
    found = {name: registry.method(name) for name in expanded}
    names = [cls.name for cls in found.values()]
    for name in names:
        if names.count(name) > 1:
            sources = ", ".join(source for source, cls in found.items() if cls.name == name)
            raise UserError(f"--methods: {sources} are all called '{name}'; give each class a `name` of its own.")
    return list(found.items())


def _check_owners(request: Request, running: set[str]) -> None:
    """A setting of a method that this command does not run would silently do nothing: an error."""
    for key in request.overrides:
        head = key.partition(".")[0]
        if head in registry.setting_owners() and head not in running:
            names = ", ".join(sorted(running))
            raise UserError(f"--set {key}: method '{head}' is not part of this command; its methods are {names}.")


def _grid(overrides: Mapping[str, list[str]]) -> Iterator[dict[str, str]]:
    for point in product(*overrides.values()):
        yield dict(zip(overrides, point, strict=True))


def _scene(name: str, request: Request, preset: Preset, values: Mapping[str, Any]) -> Scene:
    dials = resolve_dataset(values, registry.dataset(name))
    data = make_dataset(name, request.data_root, dials)
    facts = data.facts()
    protocols = data.protocols()
    protocol = request.protocol or next(iter(protocols))
    if protocol not in protocols:
        raise unknown(f"protocol of {data.label}", protocol, protocols)
    modalities = _subset(data.label, tuple(facts.modalities), request.modalities)
    return Scene(
        name, data, dials, facts, protocols[protocol], modalities, preset, data.fingerprint(), request.data_root
    )


def _subset(label: str, offered: tuple[str, ...], asked: tuple[str, ...] | None) -> tuple[str, ...]:
    """The modalities asked for, in the dataset's order, so that the order of asking does not matter."""
    for m in asked or ():
        if m not in offered:
            raise unknown(f"modality of {label}", m, offered)
    return tuple(m for m in offered if asked is None or m in asked)


def _reason(cls: "type[Method]", scene: Scene, values: Mapping[str, Any]) -> str | None:
    """Why the method cannot run here, or None."""
    needs, count = cls.needs, len(scene.modalities)
    if count < needs.at_least:
        return f"needs at least {needs.at_least} modalities, not {count}"
    if count > needs.at_most:
        return f"takes at most {needs.at_most} modalities, not {count}"
    if needs.classification and scene.facts.task.regression:
        return "is defined for classification only"
    resolved = resolve_run(values, cls, type(scene.data), tuple(scene.facts.modalities))
    fusions = [_model(resolved, scene, modalities).fusion for modalities in cls.variants(scene.modalities)]
    if needs.additive_fusion and not all(fusion.additive for fusion in fusions):
        return "needs an additive fusion head (model.fusion=late-linear)"
    return cls().skip(scene.facts)


def _model(resolved: Resolved, scene: Scene, modalities: tuple[str, ...]) -> MultimodalModel:
    """The model of a run, without weights; UserError where settings and data do not fit, before anything is trained."""
    shapes = {m: scene.facts.modalities[m] for m in modalities}
    encoders = {m: build(EncoderSettings, resolved.encoders[m]) for m in modalities}
    with torch.device("meta"):
        return build_model(shapes, scene.facts.task, build(ModelSettings, resolved.model), encoders)


def _pairs(scene: Scene, request: Request) -> list[tuple[int, int]]:
    """(seed, fold) of every repetition: as asked, else the preset's pairs, else fold s mod F for seed s."""
    folds = scene.protocol.folds
    if request.fold is not None and request.fold not in folds:
        raise UserError(
            f"--fold {request.fold}: protocol '{scene.protocol.name}' of {scene.data.label} has folds {list(folds)}."
        )
    if request.seeds is None and request.fold is None and scene.preset.pairs:
        return list(scene.preset.pairs)
    seeds = request.seeds if request.seeds is not None else range(scene.preset.seeds)
    return [(s, request.fold if request.fold is not None else folds[s % len(folds)]) for s in seeds]


def _announce(plan: Plan, scene: Scene, request: Request) -> None:
    """What the reader should know before the runs begin."""
    pairs = _pairs(scene, request)
    counts = [sum(fold == f for _, fold in pairs) for f in scene.protocol.folds]
    lines = [
        f"{scene.data.label}: {name.replace('_', ' ')}: {note:g}." for name, note in scene.facts.notes.items() if note
    ]
    if request.fold is None and len(set(counts)) > 1:
        lines.append(
            f"{scene.data.label}: {len(pairs)} seeds over {len(counts)} folds are unbalanced: runs per fold {counts}."
        )
    if len(pairs) < 6:
        least = 2 / 2 ** len(pairs)
        seeds = "1 seed" if len(pairs) == 1 else f"{len(pairs)} seeds"
        lines.append(
            f"{scene.data.label}: {seeds} cannot show a difference at p < .05: "
            f"the paired sign-flip test reaches p = {least:g} at best; 10 seeds can (--seeds 10)."
        )
    plan.announcements += [line for line in lines if line not in plan.announcements]


def _runs(
    source: str,
    cls: "type[Method]",
    scene: Scene,
    values: Mapping[str, Any],
    point: Mapping[str, str],
    request: Request,
) -> Iterator[RunSpec]:
    for (seed, fold), modalities in product(_pairs(scene, request), cls.variants(scene.modalities)):
        yield _run(source, cls, scene, values, point, modalities, seed, fold)


def _run(
    source: str,
    cls: "type[Method]",
    scene: Scene,
    values: Mapping[str, Any],
    point: Mapping[str, str],
    modalities: tuple[str, ...],
    seed: int,
    fold: int,
) -> RunSpec:
    resolved = resolve_run(values, cls, type(scene.data), tuple(scene.facts.modalities))
    method = build(cls, resolved.method)
    encoders = {m: dict(resolved.encoders[m]) for m in modalities}
    for m, inner in encoders.items():
        inner["kind"] = encoder_kind(str(inner["kind"]), scene.facts.modalities[m])
    training = dict(resolved.training)
    if training["monitor"] == "auto":
        training["monitor"] = scene.protocol.metric
    metric(str(training["monitor"]), scene.facts.task)
    requirements = method.requires(modalities)
    dependencies = tuple(
        _run(r.method, registry.method(r.method), scene, values, point, r.modalities, seed, fold) for r in requirements
    )
    names = {cls.name, *(r.method for r in requirements)}
    return RunSpec(
        method=cls.name,
        method_digest=source_digest(cls),
        settings=resolved.method,
        adapter=type(scene.data).name,
        dataset_settings=scene.dials,
        fingerprint=scene.fingerprint,
        modalities=modalities,
        protocol=scene.protocol.name,
        fold=fold,
        seed=seed,
        training=training,
        model=resolved.model,
        encoders=encoders,
        dependencies=dependencies,
        dataset=scene.data.label,
        source=source,
        dataset_source=scene.name,
        data_root=scene.data_root,
        role=cls.role,
        preset=scene.preset.name,
        preset_origin=scene.preset.origin,
        overrides=" ".join(f"{k}={v}" for k, v in point.items() if concerns(k, names, modalities)),
        protocol_card=scene.protocol.card,
        metric=scene.protocol.metric,
        scales_gradients=cls.scales_gradients,
    )
