"""A run's key, made again of the settings that a record lists: settings that were changed give another key.

Nothing that a record names is looked up in files: classes are those of the registry, nets those of the harness.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from mcr_bench import __version__
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.resolve_nets import PATHWAY, ROUNDING
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.kinds import encoder_kinds, fusion_kinds
from mcr_bench.bench.record.made_rows import value_of
from mcr_bench.bench.record.row import OURS, RunRow
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.settings.declaration import Declared, Value, declared
from mcr_bench.bench.settings.training import EncoderSettings, ModelSettings, TrainingSettings

STRANGE = "a file of the submitter's, or of a package that is not installed here"
IDLE = 3  # at most so many settings of a dataset have no effect at a time
Acting = Callable[[dict[str, Value]], dict[str, Value]]  # the dataset's own word on which of its settings act


class Unprovable(Exception):
    """Why the key of a run cannot be made again here, in words."""


def rebuilt(row: RunRow, needs: Sequence[RunSpec], acting: Acting | None) -> RunSpec:
    """The run that the settings on record describe; its key is theirs.

    needs: the runs that it starts from, in their order. acting: gives those settings of the dataset that decide the
    result; None where the data is not here. `Unprovable` where something of it is not known here; UserError for a
    setting that is not allowed.
    """
    _require_known(row)
    method, dataset = registry.method(row.method), registry.dataset(row.dataset)
    model = below(row, "model.")
    kind = fusion_kinds()[str(model.get("fusion"))]
    encoders = {m: _encoder(below(row, f"encoder.{m}.")) for m in row.modalities}
    dials = _typed(below(row, "dataset."), declared(dataset))
    known = ("model.", "encoder.", "dataset.", f"{row.method}.")
    spec = RunSpec(
        method=row.method,
        method_digest=row.method_digest,
        settings=_typed(below(row, f"{row.method}."), declared(method)),
        adapter=dataset.name,
        data_settings=dials,
        fingerprint=row.fingerprint,
        modalities=row.modalities,
        protocol=row.protocol,
        fold=row.fold,
        seed=row.seed,
        training=_typed({k: v for k, v in row.settings.items() if not k.startswith(known)}, declared(TrainingSettings)),
        model=_typed(model, declared(ModelSettings) | dict(kind.settings)),
        encoders=encoders,
        dependencies=tuple(needs),
        dataset=row.dataset,
        dataset_settings=dials,
        source=row.source,
        dataset_source=row.dataset_source,
        data_root=Path(),
        role=row.role,
        preset=row.preset,
        preset_origin=row.preset_origin,
        overrides=row.overrides,
        protocol_card=row.protocol_card,
        metric=row.metric,
        scales_gradients=row.scales_gradients,
        primary=row.primary,
        complete_from=row.complete_from,
        pathways={m: float(PATHWAY.parse(str(row.settings[key]), f"encoder.{m}.")) for m in row.modalities
                  if (key := f"encoder.{m}.{PATHWAY.key}") in row.settings},
    )  # fmt: skip
    return replace(spec, data_settings=_acting(spec, row, acting))


def _require_known(row: RunRow) -> None:
    version = row.versions.get(OURS, "")
    if version != __version__:
        raise Unprovable(
            f"version {version or 'unknown'} trained it, this is {__version__}, and keys depend on the version"
        )
    if row.method not in registry.method_names() or row.source not in ("", row.method):
        raise Unprovable(f"its method is {STRANGE}")
    if not is_registered(row):
        raise Unprovable(f"its data is {STRANGE}")
    kinds = {str(row.settings.get(f"encoder.{m}.kind", "")) for m in row.modalities}
    if not kinds <= encoder_kinds().keys() or str(row.settings.get("model.fusion", "")) not in fusion_kinds():
        raise Unprovable("an encoder or its fusion head does not come with the program")


def is_registered(row: RunRow) -> bool:
    """Whether the dataset of a run is one that is registered here, and not code that the record names."""
    return row.dataset in registry.dataset_names() and row.dataset_source in ("", row.dataset)


def below(row: RunRow, head: str) -> dict[str, Value]:
    """The settings of a run whose names begin with `head`, without it."""
    return {key.removeprefix(head): value for key, value in row.settings.items() if key.startswith(head)}


def _encoder(settings: Mapping[str, Value]) -> dict[str, Value]:
    own = {key: value for key, value in settings.items() if key not in ROUNDING and key != PATHWAY.key}
    return _typed(own, declared(EncoderSettings) | dict(encoder_kinds()[str(own["kind"])].settings))


def _typed(settings: Mapping[str, Value], known: Mapping[str, Declared]) -> dict[str, Value]:
    """Settings with the types that they were declared with: a record holds texts, and some texts look like numbers."""
    return {k: known[k].parse(str(v), "") if k in known else value_of(str(v)) for k, v in settings.items()}


def _acting(spec: RunSpec, row: RunRow, acting: Acting | None) -> dict[str, Value]:
    """The settings of the dataset that are part of the key: those that give the identity of the data on record."""
    dials = spec.data_settings
    own = sorted(dials.keys() & declared(registry.dataset(row.dataset)).keys())
    for count in range(IDLE + 1):
        for idle in combinations(own, count):
            rest = {key: value for key, value in dials.items() if key not in idle}
            if replace(spec, data_settings=rest).data_identity == row.data_identity:
                return rest
    if acting is None:
        raise Unprovable("which settings of its dataset act is not known without the data")
    try:
        return acting(dials)
    except UserError as error:
        raise Unprovable(f"which settings of its dataset act is not known: {error}") from error
