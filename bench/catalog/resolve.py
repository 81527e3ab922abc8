"""From dotted settings (preset, then command line) to the fully resolved settings of one run."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.resolve_nets import (
    Layer,
    resolve_encoders,
    resolve_model,
    resolve_pathways,
    resolve_rounding,
)
from mcr_bench.bench.errors import unknown
from mcr_bench.bench.runs.overrides import bears_on
from mcr_bench.bench.settings.declaration import Value, declared, resolve
from mcr_bench.bench.settings.training import EncoderSettings, ModelSettings, TrainingSettings

if TYPE_CHECKING:
    from mcr_bench.datasets.base import Dataset
    from mcr_bench.methods.base import Method


@dataclass
class Layers:
    """Dotted settings, sorted by what they configure and not yet checked.

    training: keys of training.
    model: keys of the model, without `model.`.
    encoder: keys of encoders, without `encoder.`.
    method: keys of the method, without its name.
    dataset: keys of the dataset, without `dataset.`.
    """

    training: dict[str, object] = field(default_factory=dict)
    model: dict[str, object] = field(default_factory=dict)
    encoder: dict[str, object] = field(default_factory=dict)
    method: dict[str, object] = field(default_factory=dict)
    dataset: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Resolved:
    """All settings of a run, with the defaults.

    training: the settings of training, by dotted key.
    model: the settings of the model.
    encoders: modality -> the settings of its encoder.
    method: the settings of the method.
    rounding: settings that change results by rounding only, by dotted key (`encoder.video.compile`).
    pathways: modality -> the probability that a training step drops it, where it is not 0.
    """

    training: dict[str, Value]
    model: dict[str, Value]
    encoders: dict[str, dict[str, Value]]
    method: dict[str, Value]
    rounding: dict[str, Value]
    pathways: dict[str, float]


def resolve_dataset(values: Mapping[str, object], cls: "type[Dataset]") -> dict[str, Value]:
    """The dataset's dials; UserError for an unknown key or a value that is not allowed."""
    mine = {k.removeprefix("dataset."): v for k, v in values.items() if k.startswith("dataset.")}
    return resolve(cls, mine, "dataset.")


def resolve_run(
    values: Mapping[str, object],
    cls: "type[Method]",
    dataset: "type[Dataset]",
    modalities: tuple[str, ...],
    chosen: Collection[str] | None = None,
    owners: Collection[str] | None = None,
) -> Resolved:
    """All settings of one run of method `cls`; a method's own table (`NAME.key`) wins over the common ones.

    modalities: all that the dataset offers, whichever of them the run keeps. chosen: the keys of `values` that the user
    has set, the others being a preset's; None where all are the user's. owners: every method whose name may begin a
    setting, by default those of the registry.
    """
    layers = _sort(values, cls, dataset, modalities, _owners(owners))
    mine = [key.removeprefix(f"{cls.name}.") for key in (values if chosen is None else chosen)]
    for key in layers.encoder:
        modality = key.partition(".")[0]
        absent = modality in dataset.optional and f"encoder.{key}" not in mine  # a preset's, for those who have it
        if "." in key and modality not in modalities and not absent:
            raise unknown("setting", f"encoder.{key}", allowed_keys(cls, dataset, modalities))
    encoder = Layer(layers.encoder, _under("encoder.", mine))
    return Resolved(
        resolve(TrainingSettings, layers.training),
        resolve_model(Layer(layers.model, _under("model.", mine))),
        resolve_encoders(encoder, modalities),
        resolve(cls, layers.method, f"{cls.name}."),
        resolve_rounding(encoder, modalities),
        resolve_pathways(encoder, modalities),
    )


def layered(
    preset: Mapping[str, object], chosen: Mapping[str, object], owners: Collection[str] | None = None
) -> dict[str, object]:
    """The user's settings over a preset's; the preset's narrower ones give way too, or a choice would do nothing.

    `optimizer.lr` takes the place of a preset's `METHOD.optimizer.lr`, `encoder.width` of its `encoder.MODALITY.width`.
    """
    names = _owners(owners)
    return {k: v for k, v in preset.items() if chosen.keys().isdisjoint(_wider(k, names))} | dict(chosen)


def _owners(owners: Collection[str] | None) -> Collection[str]:
    return registry.setting_owners() if owners is None else owners


def _wider(key: str, owners: Collection[str]) -> set[str]:
    head, _, rest = key.partition(".")
    keys = {rest} | _wider(rest, owners) if head in owners else set()
    parts = key.split(".")
    return keys | ({f"encoder.{parts[2]}"} if head == "encoder" and len(parts) == 3 else set())


def concerns(key: str, names: set[str], modalities: tuple[str, ...], owners: Collection[str] | None = None) -> bool:
    """Whether a dotted setting bears on a run of these modalities of the methods `names` (also those it depends on)."""
    head, _, rest = key.partition(".")
    if head in _owners(owners):
        return head in names and concerns(rest, names, modalities, owners)
    return bears_on(key, modalities)


def _sort(
    values: Mapping[str, object],
    cls: "type[Method]",
    dataset: type,
    modalities: tuple[str, ...],
    owners: Collection[str],
) -> Layers:
    layers, own, others = Layers(), {}, set(owners) - {cls.name}
    for key, value in values.items():
        head, _, rest = key.partition(".")
        if head == cls.name:
            own[rest] = value
        elif head not in others and not _place(layers, key, value):
            elsewhere = (f"{n}.{k}" for n, one in registry.methods().known.items() for k in declared(one))
            raise unknown("setting", key, {*allowed_keys(cls, dataset, modalities), *elsewhere})
    for rest, value in own.items():
        if rest in declared(cls):
            layers.method[rest] = value
        elif rest.startswith("dataset.") or not _place(layers, rest, value):
            keys = (*declared(cls), *declared(TrainingSettings))
            raise unknown("setting", f"{cls.name}.{rest}", (f"{cls.name}.{k}" for k in keys))
    return layers


def _place(layers: Layers, key: str, value: object) -> bool:
    head, _, rest = key.partition(".")
    room = {"model": layers.model, "encoder": layers.encoder, "dataset": layers.dataset}.get(head)
    if room is not None and rest:
        room[rest] = value
    elif key in declared(TrainingSettings):
        layers.training[key] = value
    else:
        return False
    return True


def _under(head: str, keys: Iterable[str]) -> frozenset[str]:
    """Of dotted keys those that begin with `head`, without it."""
    return frozenset(key.removeprefix(head) for key in keys if key.startswith(head))


def allowed_keys(cls: "type[Method]", dataset: type, modalities: tuple[str, ...]) -> list[str]:
    """Every dotted key that a run of this method on this dataset understands."""
    encoder = list(declared(EncoderSettings))
    return [
        *declared(TrainingSettings),
        *(f"model.{k}" for k in declared(ModelSettings)),
        *(f"encoder.{k}" for k in encoder),
        *(f"encoder.{m}.{k}" for m in modalities for k in encoder),
        *(f"dataset.{k}" for k in declared(dataset)),
        *(f"{cls.name}.{k}" for k in declared(cls)),
    ]
