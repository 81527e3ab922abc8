"""What verifying a dataset found, as text for a terminal and as plain data."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mcr_bench.datasets._audit import PARTS, sentence

if TYPE_CHECKING:
    from mcr_bench.datasets._verify import FoldAudit, Inventory, Verification
    from mcr_bench.datasets.base import Dataset, Protocol

MOST_NAMES = 10  # of what is missing or left out
MOST_CLASSES = 60  # a longer histogram is told by its range
WIDTH = 120


def text_of(data: "Dataset", found: "Verification", damaged: Sequence[str] | None = None) -> str:
    """The counts, what is missing and where to ask for it, then every protocol's card with its audit."""
    lines = [f"{data.label}: {found.inventory.counted(found.inventory.clips)}"]
    lines += _absences(data, found.inventory)
    if damaged is not None:
        lines.append(
            _some("damaged (prepare again)", damaged) if damaged else "content: every sample is as it was written"
        )
    for protocol, folds in found.protocols.values():
        lines += ["", *_wrapped(protocol.card, "", "    ")]
        for fold in folds:
            lines += _fold(fold, found, fold is folds[0])
    return "\n".join(lines)


def data_of(data: "Dataset", found: "Verification", damaged: Sequence[str] | None = None) -> dict[str, Any]:
    """The same as plain data, with every name and every count."""
    inventory = found.inventory
    content = {} if damaged is None else {"damaged": list(damaged)}
    return {
        "dataset": data.label,
        "clips": inventory.clips,
        "state": inventory.counted(inventory.clips),
        "variants": [{"clips": clips, "name": name} for clips, name in inventory.variants],
        "left_out": [{"name": name, "reason": reason} for name, reason in inventory.left_out],
        "missing": dict(inventory.missing),
        **content,
        "protocols": [_protocol_data(protocol, folds, found) for protocol, folds in found.protocols.values()],
    }


def _protocol_data(protocol: "Protocol", folds: list["FoldAudit"], found: "Verification") -> dict[str, Any]:
    return {"name": protocol.name, "card": protocol.card, "folds": [_fold_data(fold, found) for fold in folds]}


def _fold_data(fold: "FoldAudit", found: "Verification") -> dict[str, Any]:
    names = found.class_names
    return {
        "fold": fold.fold,
        "sizes": {PARTS.get(name, "unused"): size for name, size in fold.sizes.items()},
        "groups": {PARTS[name]: count for name, count in fold.groups.items()},
        "leaks": [vars(o) | {"parts": [PARTS[name] for name in o.parts]} for o in fold.overlaps],
        "selected_on_test": fold.selected_on_test,
        "classes": {PARTS[part]: dict(zip(names, c, strict=True)) for part, c in fold.classes.items()},
        "absent_classes": {PARTS[part]: [names[k] for k in fold.absent(part)] for part in fold.classes},
        "labels": {
            PARTS[part]: dict(zip(("lowest", "mean", "highest"), s, strict=True)) for part, s in fold.spread.items()
        },
    }


def _absences(data: "Dataset", inventory: "Inventory") -> Iterator[str]:
    for name, reason in inventory.left_out[:MOST_NAMES]:
        yield f"left out: {name}: {reason}"
    if len(inventory.left_out) > MOST_NAMES:
        yield f"left out: {len(inventory.left_out) - MOST_NAMES:,} more, which --json lists"
    for name, ids in inventory.missing.items():
        yield _some(f"missing: list {name} names {len(ids):,} clips that are not there", ids)
    if inventory.is_partial:
        source = data.card.download or data.card.homepage
        yield f"ask for what is missing: {source}" if source else "ask for what is missing where the data comes from"


def _some(head: str, names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return f"{head}: {', '.join(names[:MOST_NAMES])}{more}"


def _fold(fold: "FoldAudit", found: "Verification", whole: bool) -> Iterator[str]:
    sizes = ", ".join(f"{PARTS.get(name, 'unused')} {size:,}" for name, size in fold.sizes.items() if name or size)
    used = sum(size for name, size in fold.sizes.items() if name)
    state = f" ({found.inventory.counted(used)})" if found.inventory.variants and fold.sizes[""] else ""
    yield f"  fold {fold.fold}: {sizes}{state}"
    if fold.groups:
        counts = ", ".join(f"{PARTS[name]} {count:,}" for name, count in fold.groups.items())
        yield f"    {found.group_name}s: {counts}"
    kinds = {"id": "by id", "group": f"by group ({found.group_name})", "content": "by content"}
    for kind, words in kinds.items():
        if kind == "group" and not fold.groups:
            yield "    by group: not known, the data names no groups"
            continue
        overlaps = [overlap for overlap in fold.overlaps if overlap.kind == kind]
        yield from _wrapped(f"{words}: {f'LEAK: {sentence(overlaps)}' if overlaps else 'disjoint'}", "    ", "      ")
    on_test = (
        "LEAK: the selection set holds samples of the test set" if fold.selected_on_test else "is not the test set"
    )
    yield f"    selection set: {on_test}"
    yield from _labels(fold, found.class_names, whole and len(found.class_names) <= MOST_CLASSES)


def _labels(fold: "FoldAudit", names: Sequence[str], whole: bool) -> Iterator[str]:
    for part, (lowest, mean, highest) in fold.spread.items():
        yield f"    scores of {PARTS[part]}: {lowest:g} to {highest:g}, mean {mean:.3f}"
    if fold.classes and whole:
        counts = zip(names, zip(*fold.classes.values(), strict=True), strict=True)
        text = ", ".join(f"{name} {'/'.join(map(str, count))}" for name, count in counts)
        yield from _wrapped(f"classes ({'/'.join(PARTS.values())}): {text}", "    ", "      ")
    for part, classes in fold.classes.items():
        if not whole and any(classes):
            yield f"    classes of {PARTS[part]}: {min(classes):,} to {max(classes):,} samples each"
        if absent := [names[k] for k in fold.absent(part)]:
            yield from _wrapped(f"absent from {PARTS[part]}: {', '.join(absent)}", "    ", "      ")


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
