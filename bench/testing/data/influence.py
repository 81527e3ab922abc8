"""Checks that validation and test never influence training values, and that a fingerprint follows the data."""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from mcr_bench.bench.problem.samples import Split, Splits
from mcr_bench.bench.testing.card import Failed, NotApplicable
from mcr_bench.bench.testing.data.altered import changes_of, copied
from mcr_bench.bench.testing.data.case import DataCase, apart, disturb, parts_of, values_of
from mcr_bench.bench.testing.data.owners import changed_of, owner_of

STANDARD = 1e-3  # how close to 0 a mean, and to 1 a deviation, are of values that were standardised with them
FEW = 4  # samples: with fewer, means say nothing
SOME, MANY = 16, 40  # samples of the files that are changed, one at a time: to see an effect, and to meet each part
SECONDS = 6.0  # that changing samples may take: a dataset that loads slowly is looked at fewer times
UNCHANGED = (
    "its files hold no array or table that can be changed for a check, or changed ones are refused or without effect"
)
UNTRIED = "the parts were not standardised together, but other influence could not be tried: "
OTHERS = {"val": "validation", "test": "test"}


def fingerprint(case: DataCase) -> None:
    """The fingerprint is the same text at each call."""
    first = case.made().fingerprint()
    disturb(1)
    again = case.made().fingerprint()
    if not first:
        raise Failed("fingerprint() is empty")
    if first != again:
        raise Failed(f"fingerprint() gave '{first[:16]}' and then '{again[:16]}' for the same data")
    with copied(case) as copy:
        if copy is not None and copy.made().fingerprint() != first:
            raise Failed("fingerprint() is another one for a copy of the same files, made now in another folder")


def fingerprint_follows(case: DataCase) -> None:
    """Where the files of the data change, the fingerprint does too."""
    tried = 0
    with copied(case) as copy:
        if copy is None:
            raise NotApplicable("it reads no files at self.location, or more than can be copied for a check")
        protocol, fold = case.default
        before, first = copy.load(protocol, fold, 0), copy.made().fingerprint()
        for what in changes_of(copy, SOME):
            after = loaded_or_none(copy)
            if after is None or not apart(before, after):
                continue
            tried += 1
            data = copy.made()
            if data.fingerprint() == first and not list(data.damaged() or ()):
                raise Failed(f"after {what} was changed, other values are loaded, but the fingerprint is the same")
    if not tried:
        raise NotApplicable(UNCHANGED)


def loaded_or_none(case: DataCase) -> Splits | None:
    """The default parts, or None where the changed files are refused."""
    try:
        return case.load(*case.default, 0)
    except Exception:  # whatever a reader says of a file that does not suit it
        return None


def training_alone(case: DataCase) -> None:
    """Values of the training part do not depend on validation and test."""
    splits = case.loaded(*case.default)
    for m in splits.train.values:
        _check_scale(splits, m)
    _check_changes(case)


LEVELS: dict[str, Callable[[Tensor], Tensor]] = {
    "channel": lambda x: x.movedim(x.ndim - 1 if x.ndim < 4 else x.ndim - 3, -1).flatten(0, -2),
    "position": lambda x: x.flatten(1),
    "modality": lambda x: x.reshape(-1, 1),
}


def _check_scale(splits: Splits, m: str) -> None:
    """`Failed` where the training part is standardised together with another part, and not by itself."""
    parts = {name: _real(part, m) for name, part in parts_of(splits).items()}
    if min(map(len, parts.values())) < FEW:
        return
    for level, rows_of in LEVELS.items():
        rows = {name: rows_of(x.double()) for name, x in parts.items()}
        if _is_standard(rows["train"]):
            return
        for others in (("val",), ("test",), ("val", "test")):
            told = " and ".join(OTHERS[name] for name in others)
            if _is_standard(torch.cat([rows[name] for name in ("train", *others)])):
                raise Failed(
                    f"'{m}' has mean 0 and deviation 1 per {level} over train, {told} "
                    "together, and not over train: it was standardised with samples that training must not see"
                )


def _real(part: Split, m: str) -> Tensor:
    """The samples of a modality; of padded ones the real steps, as sequences of one step."""
    x = values_of(part, m)
    return x[part.mask(m)[..., 0][: len(x)]][:, None] if m in part.lengths else x


def _is_standard(rows: Tensor) -> bool:
    """Whether columns (N, K) have mean 0 and deviation 1; constant ones are left out."""
    mean, deviation = rows.mean(0), rows.std(0, correction=0)
    varied = deviation > STANDARD
    close = (mean.abs() < STANDARD) & ((deviation - 1).abs() < STANDARD)
    return bool(varied.any()) and bool(close[varied].all())


def _check_changes(case: DataCase) -> None:
    """`Failed` where training samples change with a sample of another part, or with whichever sample is changed.

    `NotApplicable` where no sample could be changed: the scale alone, which was looked at, shows nothing.
    """
    until = time.monotonic() + SECONDS
    tried, unclear = 0, list[str]()
    alone: set[str] = set()  # the parts whose samples leave the training part as it is
    with copied(case) as copy:
        if copy is None:
            raise NotApplicable(f"{UNTRIED}it reads no files at self.location, or more than can be copied for a check")
        before = copy.load(*case.default, 0)
        for what in changes_of(copy, MANY):
            after = loaded_or_none(copy)
            if after is not None and apart(before, after):
                tried += 1
                _look(before, after, what, unclear, alone)
            if alone == {"val", "test"} or time.monotonic() > until:
                break
    if not tried:
        raise NotApplicable(UNTRIED + UNCHANGED)
    if len(unclear) >= MANY / 2 and not alone:
        raise Failed(
            f"whichever sample is changed in the files ({len(unclear)} were tried, the last was {unclear[-1]}), the "
            "values of all training samples change: they depend on all parts"
        )


def _look(before: Splits, after: Splits, what: str, unclear: list[str], alone: set[str]) -> None:
    """Take over what a changed sample shows; `Failed` where it is of another part and training samples change."""
    changed, owner = changed_of(before, after), owner_of(before, after)
    train = changed["train"]
    if not train.any():
        alone |= {name for name, rows in changed.items() if rows.any()}
    elif owner in OTHERS:
        raise Failed(
            f"{what} in the files belongs to the {OTHERS[owner]} part, and when it is changed, so are the values of "
            f"{int(train.sum())} of {len(train)} training samples: they depend on other parts"
        )
    elif not owner and train.all():
        unclear.append(what)
