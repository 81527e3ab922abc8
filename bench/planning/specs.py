"""The runs of one method on a dataset that is set up: whether it can run, and the RunSpec of each repetition."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from mcr_bench.bench.catalog import nets
from mcr_bench.bench.catalog.resolve import Resolved, concerns, resolve_run
from mcr_bench.bench.core.behaviour import behaviour_digest
from mcr_bench.bench.errors import UserError
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
from mcr_bench.methods.base import START, Delay, Requirement

if TYPE_CHECKING:
    from mcr_bench.bench.planning.request import DatasetSetup
    from mcr_bench.methods.base import Method


def reason_against(
    cls: "type[Method]", setup: "DatasetSetup", values: Mapping[str, object], point: Mapping[str, str]
) -> str | None:
    """Why the method cannot run on this setup, or None if it can. values, point: as for `specs_of`."""
    needs = cls.needs
    if reason := needs.unmet(len(setup.modalities), setup.facts.task):
        return reason
    resolved = resolve_run(values, cls, type(setup.data), tuple(setup.facts.modalities), point, setup.classes.owners)
    models = [_tried(resolved, setup, modalities) for modalities in _variants(cls, setup.modalities)]
    asked = frozenset[str]().union(*(model.asks for model in models))
    head, additive = str(resolved.model["fusion"]), all(model.additive for model in models)
    if reason := needs.unmet_by_head(head, additive, asked):
        return reason
    with asking(cls, "skip"):
        facts = replace(setup.facts, modalities={m: setup.facts.modalities[m] for m in setup.modalities})
        return checked_reason(cls, build(cls, resolved.method).skip(facts))


def _variants(cls: "type[Method]", modalities: tuple[str, ...]) -> list[tuple[str, ...]]:
    with asking(cls, "variants"):
        variants = checked_list(cls, "variants", cls.variants(modalities), tuple, "[modalities]")
    for variant in variants:
        if not variant or not {*variant} <= {*modalities}:
            raise UserError(
                f"{cls.name}: variants() gave {variant!r}. Allowed: tuples of some of {', '.join(modalities)}, such as "
                "[modalities] for one run on all of them."
            )
    return variants


def _tried(resolved: Resolved, setup: "DatasetSetup", modalities: tuple[str, ...]) -> Tried:
    """The model of a run, tried without weights; UserError if settings and data do not fit."""
    shapes = {m: setup.facts.modalities[m] for m in modalities}
    encoders = {m: nets.encoder_of(_named(resolved.encoders[m], shapes[m])) for m in modalities}
    return tried(shapes, setup.facts.task.outputs, nets.head_of(resolved.model), encoders)


def _named(encoder: Mapping[str, Value], modality: Modality) -> dict[str, Value]:
    """The settings of an encoder, with the kind that `auto` means for the shape of a sample."""
    return {**encoder, "kind": encoder_kind(str(encoder["kind"]), modality)}


Chain = tuple[tuple[str, tuple[str, ...]], ...]  # methods and modalities of runs, each of which needs the next one


@dataclass(frozen=True)
class Pattern:
    """A run without its seed and fold, whose settings are resolved once for all repetitions.

    spec: the run, with seed and fold 0.
    needs: the runs that it starts from.
    """

    spec: RunSpec
    needs: tuple["Pattern", ...]

    def at(self, seed: int, fold: int) -> RunSpec:
        """The run of one repetition, with the runs that it starts from."""
        dependencies = tuple(needed.at(seed, fold) for needed in self.needs)
        return replace(self.spec, seed=seed, fold=fold, dependencies=dependencies)


def specs_of(
    source: str,
    cls: "type[Method]",
    setup: "DatasetSetup",
    values: Mapping[str, object],
    point: Mapping[str, str],
    pairs: Sequence[tuple[int, int]],
) -> Iterator[RunSpec]:
    """A run for each (seed, fold) and each set of modalities that the method trains.

    values: dotted settings of preset and user; point: those of the user, as text.
    """
    patterns = [
        _pattern(source, cls, setup, values, point, modalities) for modalities in cls.variants(setup.modalities)
    ]
    for (seed, fold), pattern in product(pairs, patterns):
        yield pattern.at(seed, fold)


def _monitor(name: str, cls: "type[Method]", setup: "DatasetSetup") -> str:
    """The metric that selects the epoch; the total loss of a method without own heads is its loss."""
    monitor = setup.protocol.metric if name == "auto" else name
    higher_is_better(monitor, setup.facts.task)
    return "loss" if monitor == TOTAL_LOSS and not cls.needs.own_heads else monitor


def _of_key(encoder: dict[str, Value]) -> dict[str, Value]:
    """The settings of an encoder that decide a result: weights by what they are, none of weights that it lacks."""
    kind = nets.encoder(str(encoder["kind"]))
    if kind.digest:
        return encoder
    if "weights" in kind.settings:
        return {**encoder, "weights": pinned(str(encoder["weights"]), commit_of)}
    return {key: value for key, value in encoder.items() if key not in OF_WEIGHTS}


def _acting(cls: "type[Method]", pathways: Mapping[str, float], modalities: tuple[str, ...]) -> dict[str, float]:
    """The rates of dropped pathways that act: a step never drops all modalities, and an ensemble makes no steps."""
    return {m: r for m, r in pathways.items() if m in modalities and len(modalities) > 1 and cls.trains}


def _pattern(
    source: str,
    cls: "type[Method]",
    setup: "DatasetSetup",
    values: Mapping[str, object],
    point: Mapping[str, str],
    modalities: tuple[str, ...],
    chain: Chain = (),
) -> Pattern:
    """chain: the runs that start from this one."""
    resolved = resolve_run(values, cls, type(setup.data), tuple(setup.facts.modalities), point, setup.classes.owners)
    method = build(cls, resolved.method)
    encoders = {m: _of_key(_named(resolved.encoders[m], setup.facts.modalities[m])) for m in modalities}
    training = {**resolved.training, "monitor": _monitor(str(resolved.training["monitor"]), cls, setup)}
    with asking(method, "requires"):
        returned = method.requires(modalities)
        requirements = checked_list(method, "requires", returned, Requirement, '[Requirement("METHOD", ("audio",))]')
    chain = (*chain, (cls.name, modalities))
    _check_requirements(requirements, chain, tuple(setup.facts.modalities))
    needs = tuple(
        _pattern(r.method, setup.classes.method(r.method), setup, values, point, r.modalities, chain)
        for r in requirements
    )
    names, owners = {cls.name, *(r.method for r in requirements)}, setup.classes.owners
    pathways = _acting(cls, resolved.pathways, modalities)
    bearing = {k: v for k, v in point.items() if pathways or not k.endswith(".drop_pathway")}
    spec = RunSpec(
        method=cls.name,
        method_digest=behaviour_digest(cls),
        settings=resolved.method,
        adapter=type(setup.data).name,
        data_settings=setup.data.acting(setup.dials),
        fingerprint=setup.fingerprint,
        modalities=modalities,
        protocol=setup.protocol.name,
        fold=0,
        seed=0,
        training=training,
        model=resolved.model,
        encoders=encoders,
        dependencies=(),
        dataset=setup.data.label,
        dataset_settings=setup.dials,
        source=source,
        dataset_source=setup.name,
        data_root=setup.data_root,
        role=cls.role,
        preset=setup.preset.name,
        preset_origin=setup.preset.origin_for(cls.name),
        overrides=" ".join(f"{k}={v}" for k, v in bearing.items() if concerns(k, names, modalities, owners)),
        protocol_card=setup.protocol.card,
        metric=setup.protocol.metric,
        scales_gradients=cls.scales_gradients,
        complete_from=_complete_from(method, int(training["epochs"])),
        primary=cls.name in setup.primary,
        pathways=pathways,
        rounding={k: v for k, v in resolved.rounding.items() if k.split(".")[1] in modalities},
    )
    return Pattern(spec, needs)


def _check_requirements(requirements: Sequence[Requirement], chain: Chain, known: tuple[str, ...]) -> None:
    """UserError for modalities that the data lacks, and for a run that starts from itself."""
    for one in requirements:
        if not isinstance(one.modalities, tuple) or not one.modalities or set(one.modalities) - set(known):
            raise UserError(
                f"{chain[-1][0]}: requires() gave Requirement({one.method!r}, {one.modalities!r}). Give a tuple of "
                f"some of {', '.join(known)}: Requirement({one.method!r}, ({known[0]!r},))."
            )
        if (one.method, one.modalities) in chain:
            ring = " -> ".join(f"{name} ({', '.join(m)})" for name, m in (*chain, (one.method, one.modalities)))
            raise UserError(
                f"{chain[-1][0]}: requires() ends in a ring: {ring}. Require a run that needs none of these."
            )


def _complete_from(method: "Method", epochs: int) -> int:
    """The first epoch, from 1, in which all parts of the method's rule act, in a run of so many epochs.

    1 under settings that make it a simpler method.
    """
    if any(all(getattr(method, key) == value for key, value in one.settings.items()) for one in method.neutral):
        return 1
    acting = [one.first(_value(method, one), epochs) for one in method.delays if _has_part(method, one)]
    return max(acting, default=1)


def _value(method: "Method", delay: "Delay") -> float:
    """What the setting of the delay holds; 1, the first epoch, where there is no such setting."""
    return float(getattr(method, delay.setting)) if delay.setting else 1.0


def _has_part(method: "Method", delay: "Delay") -> bool:
    """Whether the method has the part of the delay under its settings."""
    if delay in START:  # a method may have no such setting, or one of another meaning
        return type(getattr(method, delay.setting, None)) is int
    return delay.where is None or getattr(method, delay.where[0]) == delay.where[1]


def own_encoders(runs: Sequence[RunSpec]) -> set[tuple[str, str]]:
    """(modality, kind) of the encoders of these runs that do not come with the harness."""
    return {(m, str(e["kind"])) for run in runs for m, e in run.encoders.items() if "kind_digest" in e}


def padding_notes(own: set[tuple[str, str]], setup: "DatasetSetup") -> list[str]:
    """What is to be known of encoders that see padded samples and are not told their lengths. own: `own_encoders`."""
    return [
        f"{setup.data.label}: '{m}' is padded, and {kind} takes no lengths: it sees the padding, as zeros. Take "
        "them in forward(self, x, lengths=None), or say padded = True in the class."
        for m, kind in sorted(own)
        if m in setup.modalities and setup.facts.modalities[m].padded and nets.encoder(kind).sees_padding
    ]
