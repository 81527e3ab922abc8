"""The runs of one method on prepared ground: whether it can run there, and the RunSpec of each repetition."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from mcr_bench.bench.catalog import nets
from mcr_bench.bench.catalog.resolve import Resolved, concerns, resolve_run
from mcr_bench.bench.core.behaviour import behaviour_digest
from mcr_bench.bench.fit.returns import asking, checked_list, checked_reason
from mcr_bench.bench.models.backbones.weights import pinned
from mcr_bench.bench.models.backbones.whole import commit_of
from mcr_bench.bench.models.build import encoder_kind
from mcr_bench.bench.models.declared import OF_WEIGHTS
from mcr_bench.bench.models.tried import Tried, tried
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.problem.metrics import TOTAL_LOSS, higher_is_better
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.settings.declaration import Value, build
from mcr_bench.methods.base import Requirement

if TYPE_CHECKING:
    from mcr_bench.bench.planning.request import Scene
    from mcr_bench.methods.base import Method


def reason_against(
    cls: "type[Method]", scene: "Scene", values: Mapping[str, object], point: Mapping[str, str]
) -> str | None:
    """Why the method cannot run here, or None. values, point: as of `specs_of`."""
    needs = cls.needs
    if reason := needs.unmet(len(scene.modalities), scene.facts.task.regression):
        return reason
    resolved = resolve_run(values, cls, type(scene.data), tuple(scene.facts.modalities), point, scene.classes.owners)
    models = [_tried(resolved, scene, modalities) for modalities in _variants(cls, scene.modalities)]
    if needs.additive_fusion and not all(model.additive for model in models):
        return "needs an additive fusion head (model.fusion=late-linear)"
    if needs.own_features and (asked := sorted(frozenset[str]().union(*(model.asks for model in models)))):
        head = resolved.model["fusion"]
        return f"gives the fusion head features of its own making, but {head} reads the encoders' {' and '.join(asked)}"
    with asking(cls, "skip"):
        return checked_reason(cls, cls().skip(scene.facts))


def _variants(cls: "type[Method]", modalities: tuple[str, ...]) -> list[tuple[str, ...]]:
    with asking(cls, "variants"):
        return checked_list(cls, "variants", cls.variants(modalities), tuple, "[modalities]")


def _tried(resolved: Resolved, scene: "Scene", modalities: tuple[str, ...]) -> Tried:
    """The model of a run, tried without weights; UserError where settings and data do not fit."""
    shapes = {m: scene.facts.modalities[m] for m in modalities}
    encoders = {m: nets.encoder_of(_named(resolved.encoders[m], shapes[m])) for m in modalities}
    return tried(shapes, scene.facts.task.outputs, nets.head_of(resolved.model), encoders)


def _named(encoder: Mapping[str, Value], modality: Modality) -> dict[str, Value]:
    """The settings of an encoder, `auto` by the sample's shape."""
    return {**encoder, "kind": encoder_kind(str(encoder["kind"]), modality)}


@dataclass(frozen=True)
class Pattern:
    """A run without its seed and fold: settings are resolved once for all repetitions."""

    spec: RunSpec
    needs: tuple["Pattern", ...]

    def at(self, seed: int, fold: int) -> RunSpec:
        """The run of one repetition, with the runs that it depends on."""
        dependencies = tuple(needed.at(seed, fold) for needed in self.needs)
        return replace(self.spec, seed=seed, fold=fold, dependencies=dependencies)


def specs_of(
    source: str,
    cls: "type[Method]",
    scene: "Scene",
    values: Mapping[str, object],
    point: Mapping[str, str],
    pairs: Sequence[tuple[int, int]],
) -> Iterator[RunSpec]:
    """A run for each (seed, fold) and each set of modalities that the method trains.

    values: dotted settings of preset and user; point: those of the user, as text.
    """
    patterns = [
        _pattern(source, cls, scene, values, point, modalities) for modalities in cls.variants(scene.modalities)
    ]
    for (seed, fold), pattern in product(pairs, patterns):
        yield pattern.at(seed, fold)


def _monitor(name: str, cls: "type[Method]", scene: "Scene") -> str:
    """The metric that selects the epoch; the total loss of a method without own heads is its loss."""
    found = scene.protocol.metric if name == "auto" else name
    higher_is_better(found, scene.facts.task)
    return "loss" if found == TOTAL_LOSS and not cls.needs.own_heads else found


def _of_key(encoder: dict[str, Value]) -> dict[str, Value]:
    """The settings of an encoder that decide a result: weights by what they are, none of weights that it lacks."""
    kind = nets.encoder(str(encoder["kind"]))
    if kind.digest:
        return encoder
    if "weights" in kind.settings:
        return {**encoder, "weights": pinned(str(encoder["weights"]), commit_of)}
    return {key: value for key, value in encoder.items() if key not in OF_WEIGHTS}


def _pattern(
    source: str,
    cls: "type[Method]",
    scene: "Scene",
    values: Mapping[str, object],
    point: Mapping[str, str],
    modalities: tuple[str, ...],
) -> Pattern:
    resolved = resolve_run(values, cls, type(scene.data), tuple(scene.facts.modalities), point, scene.classes.owners)
    method = build(cls, resolved.method)
    encoders = {m: _of_key(_named(resolved.encoders[m], scene.facts.modalities[m])) for m in modalities}
    training = {**resolved.training, "monitor": _monitor(str(resolved.training["monitor"]), cls, scene)}
    with asking(method, "requires"):
        found = method.requires(modalities)
        requirements = checked_list(method, "requires", found, Requirement, '[Requirement("METHOD", ("audio",))]')
    needs = tuple(
        _pattern(r.method, scene.classes.method(r.method), scene, values, point, r.modalities) for r in requirements
    )
    names, owners = {cls.name, *(r.method for r in requirements)}, scene.classes.owners
    spec = RunSpec(
        method=cls.name,
        method_digest=behaviour_digest(cls),
        settings=resolved.method,
        adapter=type(scene.data).name,
        data_settings=scene.data.acting(scene.dials),
        fingerprint=scene.fingerprint,
        modalities=modalities,
        protocol=scene.protocol.name,
        fold=0,
        seed=0,
        training=training,
        model=resolved.model,
        encoders=encoders,
        dependencies=(),
        dataset=scene.data.label,
        dataset_settings=scene.dials,
        source=source,
        dataset_source=scene.name,
        data_root=scene.data_root,
        role=cls.role,
        preset=scene.preset.name,
        preset_origin=scene.preset.origin,
        overrides=" ".join(f"{k}={v}" for k, v in point.items() if concerns(k, names, modalities, owners)),
        protocol_card=scene.protocol.card,
        metric=scene.protocol.metric,
        scales_gradients=cls.scales_gradients,
    )
    return Pattern(spec, needs)


def padding_notes(runs: Sequence[RunSpec], scene: "Scene") -> list[str]:
    """What is to be known of encoders that see padded samples and are not told their lengths."""
    own = {(m, str(e["kind"])) for run in runs for m, e in run.encoders.items() if "kind_digest" in e}
    return [
        f"{scene.data.label}: '{m}' is padded, and {kind} takes no lengths: it sees the padding, as zeros. Take "
        "them in forward(self, x, lengths=None), or say padded = True in the class."
        for m, kind in sorted(own)
        if m in scene.modalities and scene.facts.modalities[m].padded and nets.encoder(kind).sees_padding
    ]
