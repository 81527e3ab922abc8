"""Check what the methods of a user's dataset return, where they are called, so that an error names the method."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

from mcr_bench.bench.errors import UserError, one_line
from mcr_bench.bench.fit.returns import asking
from mcr_bench.bench.models.own.trial import what_is
from mcr_bench.bench.problem.facts import Facts, Modality, Protocol
from mcr_bench.bench.problem.samples import Rows, Split, Splits

if TYPE_CHECKING:
    from mcr_bench.datasets.base import Dataset

WANTED = {
    "facts": (Facts, 'Facts({"voice": Modality((16,))}, Task(3))'),
    "protocols": (Mapping, '{"file": Protocol("file", "the split of the file", "validation", "accuracy")}'),
    "fingerprint": (str, "a digest of the data as text"),
    "load": (Splits, "Splits(train, val, test)"),
    "labels": (Mapping, '{"train": array, "val": array, "test": array}'),
    "findings": (Sequence, "a list of texts"),
    "acting": (Mapping, "a dict of dials"),
    "require": (type(None), "nothing, and raise a UserError where a part is empty"),
}


def guarded(data: "Dataset") -> "Dataset":
    """The dataset of a user's file, with methods whose errors name the place, and whose results are checked."""
    for name in WANTED:
        object.__setattr__(data, name, partial(_asked, data, name, getattr(data, name)))
    return data


def _asked(data: "Dataset", name: str, method: Callable[..., object], *arguments: object, **named: object) -> object:
    kind, example = WANTED[name]
    with asking(data, name):
        returned = method(*arguments, **named)
    where = f"{data.name}: {name}()"
    if not isinstance(returned, kind):
        raise UserError(f"{where} returned {what_is(returned)}. Return {example}.")
    if isinstance(returned, Facts):
        _check_facts(returned, where)
    if isinstance(returned, Splits):
        _check_splits(returned, data.facts(), where)
        protocol = data.protocols()[str(arguments[0] if arguments else named["protocol"])]
        _check_ids(returned, where, noted=bool(protocol.note))
    if isinstance(returned, Mapping) and name == "protocols":
        _check_protocols(returned, where)
    return returned


def _check_facts(facts: Facts, where: str) -> None:
    for name, modality in facts.modalities.items():
        if not isinstance(modality, Modality):
            raise UserError(f"{where}: modality '{name}' is a {type(modality).__name__}. Write Modality((16,)).")
    if not facts.modalities:
        raise UserError(f"{where} names no modality. Return {WANTED['facts'][1]}.")


def _check_protocols(protocols: Mapping[str, Protocol], where: str) -> None:
    wrong = [name for name, one in protocols.items() if not isinstance(one, Protocol) or one.name != name]
    if wrong or not protocols:
        named = f"names {', '.join(map(str, wrong))} wrongly" if wrong else "is empty"
        raise UserError(f"{where} {named}. Return name -> Protocol of that name: {WANTED['protocols'][1]}.")


def _check_splits(splits: Splits, facts: Facts, where: str) -> None:
    """Shapes and numbers of samples are those that the facts say."""
    for part, split in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        _check_types(split, f"{where}: ", part)
        for m, values in split.values.items():
            shape, wanted = tuple(values.shape), facts.modalities[m].shape if m in facts.modalities else None
            if wanted is None or shape[1:] != wanted:
                raise UserError(f"{where}: '{m}' of part {part} has shape {shape}; facts() says {wanted} per sample.")
            if shape[0] != len(split.ids):
                raise UserError(f"{where}: part {part} has {shape[0]} values of '{m}' and {len(split.ids)} ids.")
        several = facts.task.labels or facts.task.scores
        if tuple(split.target.shape[1:]) != ((several,) if several else ()):
            raise UserError(
                f"{where}: the targets of part {part} have shape {tuple(split.target.shape)}; the task needs "
                f"{f'(N, {several})' if several else '(N,)'}."
            )
        if len(split.target) != len(split.ids):
            raise UserError(f"{where}: part {part} has {len(split.target)} targets and {len(split.ids)} ids.")


def _check_ids(splits: Splits, where: str, noted: bool) -> None:
    """UserError where two samples have one id, in a part or in two: scores of runs are paired by ids.

    noted: whether the protocol has a note, by which parts may share samples.
    """
    known: dict[str, str] = {}
    for part, ids in (("train", splits.train.ids), ("val", splits.val.ids), ("test", splits.test.ids)):
        for one in ids:
            if one in known and (known[one] == part or not noted):
                places = f"twice in part {part}" if known[one] == part else f"in the parts {known[one]} and {part}"
                raise UserError(f"{where}: the id '{one_line(str(one), 60)}' is {places}. Give each sample its own.")
            known[one] = part


def _check_types(split: Split, where: str, part: str) -> None:
    """Values, targets, lengths and presence are tensors of torch's that want no gradient; ids and groups are lists."""
    tensors: dict[str, object] = {f"'{m}'": x for m, x in split.values.items()}
    tensors["the targets"] = split.target
    tensors |= {f"lengths of '{m}'": x for m, x in split.lengths.items()}
    tensors |= {f"present of '{m}'": x for m, x in split.present.items()}
    for what, x in tensors.items():
        if isinstance(x, Rows):
            continue
        if not isinstance(x, Tensor):
            raise UserError(f"{where}{what} of part {part}: {what_is(x)}. Give a tensor: torch.from_numpy(array).")
        if x.requires_grad:
            raise UserError(f"{where}{what} of part {part} wants a gradient. Give x.detach().")
    for what, names in (("ids", split.ids), ("groups", split.groups)):
        if names is not None and not isinstance(names, list):
            raise UserError(f"{where}{what} of part {part}: {what_is(names)}. Give a list of texts.")
