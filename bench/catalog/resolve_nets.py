"""The settings of encoders and of the fusion head, which depend on the kind that is chosen."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mcr_bench.bench.catalog import nets
from mcr_bench.bench.errors import unknown
from mcr_bench.bench.models.declared import OF_WINDOWS, EncoderKind
from mcr_bench.bench.models.kinds import encoder_kinds
from mcr_bench.bench.settings.declaration import Declared, Value, declared, resolve
from mcr_bench.bench.settings.training import EncoderSettings, ModelSettings

SHARED = frozenset(declared(EncoderSettings))  # settings of every encoder of the harness, `kind` among them
ROUNDING = {name: one for name, one in declared(EncoderSettings).items() if one.rounding}  # of every encoder there is
PATHWAY = declared(EncoderSettings)["drop_pathway"]  # of how a modality is trained, with whatever encoder
BESIDE = (*ROUNDING, PATHWAY.key)  # settings that no encoder is made with


@dataclass(frozen=True)
class Layer:
    """Dotted settings of the encoders, or of the model, without their head `encoder.` or `model.`.

    values: key -> value, of the preset and of the user.
    chosen: the keys that the user has set.
    """

    values: Mapping[str, object]
    chosen: Collection[str]


def resolve_encoders(layer: Layer, modalities: tuple[str, ...]) -> dict[str, dict[str, Value]]:
    """Modality -> every setting of its encoder; UserError for a key that no encoder of a run has.

    The settings of a net of the user's own are its defaults and what is set beside the choice of the net: a preset's
    settings, which are for other encoders, do not reach a net that the user chooses.
    """
    kinds = {m: _own_kind(_kind(layer, m)) for m in modalities}
    of_nets = {name for kind in kinds.values() if kind for name in kind.settings}
    _require_use(layer, kinds, of_nets)
    return {m: _of_net(layer, m, kind) if kind else _of_harness(layer, m, of_nets) for m, kind in kinds.items()}


def resolve_rounding(layer: Layer, modalities: tuple[str, ...]) -> dict[str, Value]:
    """`encoder.MODALITY.key` -> value, of what decides how encoders are computed and changes results by rounding only.

    A net of the user's own may have a setting of such a name, which then is one of its settings and nothing else.
    """
    return {
        f"encoder.{m}.{name}": one.parse(_common(layer, m, name, one.default), "encoder.")
        for m in modalities
        for name, one in ROUNDING.items()
        if (kind := _own_kind(_kind(layer, m))) is None or name not in kind.settings
    }


def resolve_pathways(layer: Layer, modalities: tuple[str, ...]) -> dict[str, float]:
    """Modality -> the probability that a training step drops it, where it is not 0.

    A net of the user's own may have a setting of that name, which then is one of its settings and nothing else.
    """
    rates = {
        m: float(PATHWAY.parse(_common(layer, m, PATHWAY.key, PATHWAY.default), "encoder."))
        for m in modalities
        if (kind := _own_kind(_kind(layer, m))) is None or PATHWAY.key not in kind.settings
    }
    return {m: rate for m, rate in rates.items() if rate}


def resolve_model(layer: Layer) -> dict[str, Value]:
    """Every setting of the fusion head, and the width of the features; UserError for a key that the head lacks."""
    name = str(layer.values.get("fusion", declared(ModelSettings)["fusion"].default))
    kind = nets.fusion(name)
    if not kind.digest and kind.settings.keys() <= declared(ModelSettings).keys():
        return resolve(ModelSettings, layer.values, "model.")
    width = declared(ModelSettings)["width"]
    only_chosen = "fusion" in layer.chosen
    mine = {k: v for k, v in layer.values.items() if k not in ("fusion", "width")}
    mine = {k: v for k, v in mine.items() if k in layer.chosen or not only_chosen}
    return {
        "fusion": name,
        **({"fusion_digest": kind.digest} if kind.digest else {}),
        "width": width.parse(layer.values.get("width", width.default), "model."),
        **_values(kind.settings, mine, "model.", kind.name, ("model.fusion", "model.width")),
    }


def _kind(layer: Layer, modality: str) -> str:
    return str(_common(layer, modality, "kind", "auto"))


def _common(layer: Layer, modality: str, name: str, default: object) -> object:
    """The modality's own value of a setting, or the one for all modalities, or the default."""
    return layer.values.get(f"{modality}.{name}", layer.values.get(name, default))


def _own_kind(name: str) -> EncoderKind | None:
    """The declaration of a net that does not come with the harness; None for encoders that do."""
    return None if name == "auto" or name in encoder_kinds() else nets.encoder(name)


def _of_harness(layer: Layer, modality: str, of_nets: Collection[str]) -> dict[str, Value]:
    """Settings of an encoder of the harness; common ones that only a net of another modality has are not its."""
    common = {k: v for k, v in layer.values.items() if "." not in k and (k in SHARED or k not in of_nets)}
    resolved = resolve(EncoderSettings, common | _narrow(layer.values, modality), "encoder.")
    lacks = _windows_lacked_by(str(resolved["kind"]))
    return {k: v for k, v in resolved.items() if k not in BESIDE and (k not in lacks or v != lacks[k].default)}


def _windows_lacked_by(kind: str) -> dict[str, Declared]:
    """The settings of windows that an encoder of the harness lacks; at their defaults they are not among its settings.

    Other values of theirs stay, so that they are refused where the encoder is made. `auto` never means windows.
    """
    has = encoder_kinds()[kind].settings if kind in encoder_kinds() else {}
    known = declared(EncoderSettings)
    return {name: known[name] for name in OF_WINDOWS if name not in has}


def _of_net(layer: Layer, modality: str, kind: EncoderKind) -> dict[str, Value]:
    decided = f"{modality}.kind" if f"{modality}.kind" in layer.values else "kind"
    values = layer.values
    if decided in layer.chosen:
        values = {k: v for k, v in values.items() if k in layer.chosen}
    common = {k: v for k, v in values.items() if "." not in k and k in kind.settings}
    beside = {"kind", *(set(BESIDE) - kind.settings.keys())}
    narrow = {k: v for k, v in _narrow(values, modality).items() if k not in beside}
    where = f"encoder.{modality}."
    mine = _values(kind.settings, common | narrow, where, kind.name, (f"{where}kind",))
    return {"kind": _kind(layer, modality), "kind_digest": kind.digest, **mine}


def _narrow(values: Mapping[str, object], modality: str) -> dict[str, object]:
    return {k.removeprefix(f"{modality}."): v for k, v in values.items() if k.startswith(f"{modality}.")}


def _values(
    settings: Mapping[str, Declared], values: Mapping[str, object], where: str, name: str, others: tuple[str, ...]
) -> dict[str, Value]:
    for key in values:
        if key not in settings:
            raise unknown(f"setting of {name}", where + key, (*(where + k for k in settings), *others))
    return {k: d.parse(values.get(k, d.default), where) for k, d in settings.items()}


def _require_use(layer: Layer, kinds: Mapping[str, EncoderKind | None], of_nets: Collection[str]) -> None:
    """UserError for a common setting of the user's that no encoder has: it would silently do nothing."""
    if not kinds or not all(kinds.values()):
        return  # an encoder of the harness is among them, and tells what it does not know
    for key in layer.chosen:
        if "." not in key and key not in ("kind", *BESIDE, *of_nets) and key in layer.values:
            names = ", ".join(dict.fromkeys(kind.name for kind in kinds.values() if kind))
            raise unknown(f"setting of {names}", f"encoder.{key}", ("encoder.kind", *(f"encoder.{k}" for k in of_nets)))
