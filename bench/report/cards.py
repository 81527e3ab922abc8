"""Cards: the declared facts of a method or dataset, as plain data and as text."""

import dataclasses
import inspect
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from mcr_bench.bench.audit.info import info_of, preparation_of
from mcr_bench.bench.catalog import nets, registry
from mcr_bench.bench.catalog.kind_of_file import Kind, kind_of_target, registered
from mcr_bench.bench.catalog.making import make_dataset
from mcr_bench.bench.catalog.presets import preset_of, presets_of, user_labels, user_presets
from mcr_bench.bench.catalog.resolve import resolve_dataset
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.models.build import encoder_kind
from mcr_bench.bench.planning.heads import heads_of
from mcr_bench.bench.planning.overview import overview
from mcr_bench.bench.report.head_table import defined_for
from mcr_bench.bench.report.net_cards import encoder_card, fusion_card
from mcr_bench.bench.settings.declaration import declared

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from mcr_bench.datasets.base import Dataset
    from mcr_bench.methods.base import Method

Card = dict[str, object]


def list_methods() -> list[Card]:
    """One row per registered method that can be imported."""
    return [
        {
            "name": m.name,
            "role": m.role,
            "group": m.group,
            "reference": m.reference.title,
            "venue": m.reference.venue,
            "arxiv": m.reference.arxiv,
        }
        for m in registry.methods().known.values()
    ]


def list_datasets() -> list[Card]:
    """One row per registered dataset that can be imported."""
    return [
        {"name": d.name, "title": d.card.title, "files": ", ".join(d.suffixes), "licence": d.card.licence}
        for d in registry.datasets().known.values()
    ]


def list_presets() -> list[Card]:
    """One row per preset of every registered dataset, the default of each first; then the user's for files of data."""
    presets = {name: presets_of(cls) for name, cls in registry.datasets().known.items()}
    registered_names = registry.dataset_names()
    presets |= {label: user_presets(label) for label in user_labels() if label not in registered_names}
    return [
        {"dataset": name, "preset": p.name, "origin": p.origin, "seeds": p.seeds, "note": p.note}
        for name, of_dataset in presets.items()
        for p in of_dataset.values()
    ]


def card_of(name: str, data_root: Path) -> Card:
    """The card of a method, dataset, encoder or fusion head, registered, in a file or `PACKAGE:CLASS`.

    UserError for another name.
    """
    if registry.is_own(name):
        kind, name = kind_of_target(name)
        return _card(kind, name, data_root)
    for kind, names in registered().items():
        if name in names:
            return _card(kind, name, data_root)
    if name.endswith(".toml"):
        raise UserError(f"'{name}' is the file of an experiment or of presets. `mcr-bench run {name} --plan` shows it.")
    if "," in name and not Path(name).exists():
        raise UserError(f"'{name}': describe tells of one at a time. Repeat the command for each.")
    if registry.is_path(name):
        return _dataset_card(registry.dataset(name), name, data_root)
    every = [one for names in registered().values() for one in names]
    raise unknown("method, dataset, encoder or fusion head", name, every)


def _card(kind: Kind, name: str, data_root: Path) -> Card:
    if kind == "method":
        return _method_card(registry.method(name))
    if kind == "dataset":
        return _dataset_card(registry.dataset(name), name, data_root)
    return encoder_card(nets.encoder(name)) if kind == "encoder" else fusion_card(nets.fusion(name))


def card_text(card: Card) -> str:
    """A card as text for a terminal."""
    return "\n".join(_lines(card, "")).strip()


def _method_card(cls: "type[Method]") -> Card:
    return {
        "method": cls.name,
        "role": cls.role,
        "group": cls.group,
        "selections": list(cls.selections),
        "reference": _facts(cls.reference) if hasattr(cls, "reference") else "not stated",
        "description": _description(cls),
        "settings": _settings(cls, f"{cls.name}."),
        "needs": _changed(cls.needs),
        "fusion heads": defined_for(heads_of(cls)),
        "neutral": [_facts(n) | {"settings": dict(n.settings)} for n in cls.neutral] or cls.without_neutral or [],
        **({"predicts otherwise": cls.predicts_otherwise} if cls.predicts_otherwise else {}),
        **({"waits for the GPU": cls.waits} if cls.waits else {}),
        "official code": _facts(cls.official_code) if cls.official_code else "none",
        "defects": [_facts(one) for one in cls.defects],
        **({"published numbers from": cls.published or "not known"} if cls.defects else {}),
        "deviations": list(cls.deviations),
        "scales gradients": cls.scales_gradients,
    }


def _dataset_card(cls: "type[Dataset]", name: str, data_root: Path) -> Card:
    presets = [
        {"name": p.name, "origin": p.origin, "seeds": p.seeds, "note": p.note} for p in presets_of(cls, name).values()
    ]
    return {
        "dataset": cls.name,
        **_facts(cls.card),
        "description": _description(cls),
        "settings": _settings(cls, "dataset."),
        **_of_the_data(cls, name, data_root),
        "presets": presets,
    }


def _of_the_data(cls: "type[Dataset]", name: str, data_root: Path) -> Card:
    """How it is prepared under its default preset, and protocols and shapes where they can be told."""
    dials = resolve_dataset(preset_of(cls, None, name).values, cls)
    data = make_dataset(name, data_root, dials)
    card: Card = dict(preparation_of(data))
    if cls.suffixes and name not in registry.dataset_names():
        data.facts()  # a file of the user's: what is wrong with it is the answer
    try:
        card["protocols"] = [_facts(p) | {"folds": list(p.folds)} for p in data.protocols().values()]
        card["modalities"] = {m: list(facts.shape) for m, facts in data.facts().modalities.items()}
        card |= _overview(data)
    except UserError as error:
        card["data"] = str(error).removesuffix(info_of(data)).strip()
    return card


def _overview(data: "Dataset") -> Card:
    """The overview that `run` prints, for the first protocol and fold and the encoders that `auto` means."""
    facts = data.facts()
    name, protocol = next(iter(data.protocols().items()))
    fold = protocol.folds[0]
    view = overview(
        facts,
        {fold: data.labels(name, fold, 0)},
        data.findings(),
        dataset=data.label,
        protocol=name,
        folds=len(protocol.folds),
        modalities=tuple(facts.modalities),
        encoders={m: [encoder_kind("auto", modality)] for m, modality in facts.modalities.items()},
    )
    return {"data": view.line, "notices": list(view.notices)}


def _facts(declaration: "DataclassInstance") -> Card:
    """A dataclass as a dict, without empty values."""
    values = {field.name: getattr(declaration, field.name) for field in dataclasses.fields(declaration)}
    return {key: value for key, value in values.items() if value not in ("", (), None)}


def _changed(needs: "DataclassInstance") -> Card:
    """The needs that differ from the default; most methods have none."""
    return {f.name: getattr(needs, f.name) for f in dataclasses.fields(needs) if getattr(needs, f.name) != f.default}


def _settings(cls: type, prefix: str) -> list[Card]:
    return [
        {"key": prefix + d.key, "default": d.default, "allowed": d.allowed, "doc": d.doc, "origin": d.origin}
        for d in declared(cls).values()
    ]


def _description(cls: type) -> str:
    """The docstrings of the module and of the class; one that `dataclass` has generated is left out."""
    own = inspect.getdoc(cls) if not (cls.__doc__ or "").startswith(f"{cls.__name__}(") else None
    return "\n\n".join(text for text in (inspect.getdoc(inspect.getmodule(cls)), own) if text)


def _lines(value: object, indent: str) -> list[str]:
    if isinstance(value, dict):
        return [line for key, inner in value.items() for line in _entry(str(key), inner, indent)]
    if isinstance(value, list):
        return [line for inner in value for line in _item(inner, indent)]
    return [indent + line for text in str(value).splitlines() for line in _wrapped(text)]


def _wrapped(text: str) -> list[str]:
    """Lines of at most 120 characters that keep a name with hyphens whole, so that it can be copied and searched."""
    return textwrap.wrap(text, 120, break_on_hyphens=False) or [""]


def _entry(key: str, value: object, indent: str) -> list[str]:
    if isinstance(value, dict | list) and not value:
        return [f"{indent}{key}: none"]
    if isinstance(value, dict | list) or "\n" in str(value) or len(str(value)) > 90:
        return [f"{indent}{key}:", *_lines(value, indent + "  ")]
    return [f"{indent}{key}: {value}"]


def _item(value: object, indent: str) -> list[str]:
    if isinstance(value, dict) and "key" in value:
        head = f"{indent}{value['key']} = {value['default']}    ({value['allowed']}; origin: {value['origin']})"
        return [head, *_lines(value["doc"], indent + "    ")]
    first, *rest = _lines(value, indent + "  ") or [indent]
    return [f"{indent}- {first.strip()}", *rest]
