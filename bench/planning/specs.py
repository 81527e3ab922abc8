"""The runs of one method on prepared ground: whether it can run there, and the RunSpec of each repetition."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import torch

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.resolve import Resolved, concerns, resolve_run
from mcr_bench.bench.core.behaviour import behaviour_digest
from mcr_bench.bench.fit.returns import asking, checked_list, checked_reason
from mcr_bench.bench.models.backbones.make import OF_WEIGHTS, PRETRAINED
from mcr_bench.bench.models.backbones.weights import pinned
from mcr_bench.bench.models.backbones.whole import commit_of
from mcr_bench.bench.models.build import build_model, encoder_kind
from mcr_bench.bench.models.multimodal import MultimodalModel
from mcr_bench.bench.problem.metrics import TOTAL_LOSS, higher_is_better
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.settings.declaration import build
from mcr_bench.bench.settings.training import EncoderSettings, ModelSettings
from mcr_bench.methods.base import Requirement

if TYPE_CHECKING:
    from mcr_bench.bench.planning.request import Scene
    from mcr_bench.methods.base import Method


def reason_against(cls: "type[Method]", scene: "Scene", values: Mapping[str, object]) -> str | None:
    """Why the method cannot run here, or None."""
    needs = cls.needs
    if reason := needs.unmet(len(scene.modalities), scene.facts.task.regression):
        return reason
    resolved = resolve_run(values, cls, type(scene.data), tuple(scene.facts.modalities))
    fusions = [_model(resolved, scene, modalities).fusion for modalities in _variants(cls, scene.modalities)]
    if needs.additive_fusion and not all(fusion.additive for fusion in fusions):
        return "needs an additive fusion head (model.fusion=late-linear)"
    with asking(cls, "skip"):
        return checked_reason(cls, cls().skip(scene.facts))


def _variants(cls: "type[Method]", modalities: tuple[str, ...]) -> list[tuple[str, ...]]:
    with asking(cls, "variants"):
        return checked_list(cls, "variants", cls.variants(modalities), tuple, "[modalities]")


def _model(resolved: Resolved, scene: "Scene", modalities: tuple[str, ...]) -> MultimodalModel:
    """The model of a run, without weights; UserError where settings and data do not fit, before anything is trained."""
    shapes = {m: scene.facts.modalities[m] for m in modalities}
    encoders = {m: build(EncoderSettings, resolved.encoders[m]) for m in modalities}
    with torch.device("meta"):
        return build_model(shapes, scene.facts.task, build(ModelSettings, resolved.model), encoders)


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


def _pattern(
    source: str,
    cls: "type[Method]",
    scene: "Scene",
    values: Mapping[str, object],
    point: Mapping[str, str],
    modalities: tuple[str, ...],
) -> Pattern:
    resolved = resolve_run(values, cls, type(scene.data), tuple(scene.facts.modalities))
    method = build(cls, resolved.method)
    encoders = {m: dict(resolved.encoders[m]) for m in modalities}
    for m, inner in encoders.items():
        inner["kind"] = encoder_kind(str(inner["kind"]), scene.facts.modalities[m])
        if inner["kind"] in PRETRAINED:
            inner["weights"] = pinned(str(inner["weights"]), commit_of)
        else:  # it takes none of these, so they do not belong to its key
            encoders[m] = {key: value for key, value in inner.items() if key not in OF_WEIGHTS}
    training = {**resolved.training, "monitor": _monitor(str(resolved.training["monitor"]), cls, scene)}
    with asking(method, "requires"):
        found = method.requires(modalities)
        requirements = checked_list(method, "requires", found, Requirement, '[Requirement("METHOD", ("audio",))]')
    needs = tuple(
        _pattern(r.method, registry.method(r.method), scene, values, point, r.modalities) for r in requirements
    )
    names = {cls.name, *(r.method for r in requirements)}
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
        overrides=" ".join(f"{k}={v}" for k, v in point.items() if concerns(k, names, modalities)),
        protocol_card=scene.protocol.card,
        metric=scene.protocol.metric,
        scales_gradients=cls.scales_gradients,
    )
    return Pattern(spec, needs)
