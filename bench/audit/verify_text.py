"""The result of verifying a dataset as text for a terminal and as plain data."""

import textwrap
from collections.abc import Iterator, Sequence

from mcr_bench.bench.audit.verify import FoldAudit, Verification
from mcr_bench.bench.printable import in_line
from mcr_bench.bench.problem.inventory import Inventory
from mcr_bench.bench.problem.overlaps import PARTS, sentence

MOST_NAMES = 10  # names of missing or left out clips that are printed
MOST_CLASSES = 60  # a longer histogram is summarised by its range
WIDTH = 120


def text_of(result: Verification) -> str:
    """The counts, the missing clips and where to ask for them, then the card of every protocol with its audit."""
    lines = [*_wrapped(f"{result.label}: {result.inventory.counted()}", "", "  "), *_absences(result)]
    for protocol, folds in result.protocols:
        lines += ["", *_wrapped(protocol.card, "", "    ")]
        for fold in folds:
            lines += _fold(fold, result, fold is folds[0])
    return "\n".join(lines)


def data_of(result: Verification) -> dict[str, object]:
    """The same as plain data for JSON, with every name and every count."""
    inventory = result.inventory
    return {
        "dataset": result.label,
        "clips": inventory.clips,
        "state": inventory.counted(),
        "variants": [{"clips": clips, "name": name} for clips, name in inventory.variants],
        "left_out": [{"name": name, "reason": reason} for name, reason in inventory.left_out],
        "findings": [{"name": name, "what": what} for name, what in inventory.findings],
        "notes": [{"place": place, "what": what} for place, what in inventory.notes],
        "missing": dict(inventory.missing),
        "libraries": list(inventory.libraries),
        "installed": inventory.installed,
        "damaged": result.damaged,
        "protocols": [
            {"name": protocol.name, "card": protocol.card, "folds": [_fold_data(f, result.class_names) for f in folds]}
            for protocol, folds in result.protocols
        ],
    }


def _fold_data(fold: FoldAudit, names: Sequence[str]) -> dict[str, object]:
    score = ("lowest", "mean", "highest")
    return {
        "fold": fold.fold,
        "sizes": {_long(part): size for part, size in fold.sizes.items()},
        "empty": fold.empty,
        "groups": {_long(part): count for part, count in fold.groups.items()},
        "leaks": [vars(overlap) | {"parts": [_long(part) for part in overlap.parts]} for overlap in fold.overlaps],
        "selected_on_test": fold.selected_on_test,
        "classes": {_long(part): dict(zip(names, counts, strict=True)) for part, counts in fold.classes.items()},
        "absent_classes": {_long(part): [names[k] for k in fold.absent(part)] for part in fold.classes},
        "scores": {_long(part): dict(zip(score, spread, strict=True)) for part, spread in fold.spread.items()},
        "lacking": {m: {_long(part): count for part, count in counts.items()} for m, counts in fold.lacking.items()},
    }


def _long(part: str) -> str:
    return PARTS.get(part, "unused")


def _absences(result: Verification) -> Iterator[str]:
    inventory = result.inventory
    yield from _named("left out", inventory.left_out)
    yield from _named("look at", inventory.findings)
    yield from _named("note", inventory.notes)
    for name, ids in inventory.missing.items():
        if ids:
            yield from _wrapped(f"missing: {len(ids):,} of the clips in {name}: {_some(ids)}", "", "  ")
    if inventory.is_partial and result.source:
        yield from _wrapped(f"where to ask for missing clips: {result.source}", "", "  ")
    yield from _libraries(inventory)
    yield from _content(result)


def _content(result: Verification) -> Iterator[str]:
    """The result of comparing prepared samples with their checksums, if it was requested."""
    if result.damaged:
        yield from _wrapped(f"damaged, prepare again: {_some(result.damaged)}", "", "  ")
    elif result.damaged is not None:
        yield "every prepared sample is as it was written"
    elif result.incomparable:
        yield "no sample was compared: checksums of prepared samples are not available for this data"


def _libraries(inventory: Inventory) -> Iterator[str]:
    """The libraries that decoded the clips, and those that are installed now if they differ."""
    for libraries in inventory.libraries:
        yield from _wrapped(f"decoded with {libraries}", "", "  ")
    if inventory.libraries and inventory.libraries != (inventory.installed,):
        yield from _wrapped(
            f"OTHER versions are installed now: {inventory.installed}; clips decoded with them may differ slightly",
            "",
            "  ",
        )


def _named(kind: str, entries: Sequence[tuple[str, str]]) -> Iterator[str]:
    """A line for each of the first (name, what), then the number of the others."""
    for name, what in entries[:MOST_NAMES]:
        yield in_line(f"{kind}: {name}: {what}")
    if len(entries) > MOST_NAMES:
        yield f"{kind}: {len(entries) - MOST_NAMES:,} more, which --json lists"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return in_line(f"{', '.join(names[:MOST_NAMES])}{more}")


def _fold(fold: FoldAudit, result: Verification, first: bool) -> Iterator[str]:
    sizes = ", ".join(f"{_long(part)} {size:,}" for part, size in fold.sizes.items() if part or size)
    used = result.inventory.state(sum(size for part, size in fold.sizes.items() if part))
    yield f"  fold {fold.fold}: {sizes}" + (f" ({used})" if used and fold.sizes[""] else "")
    if fold.groups:
        counts = ", ".join(f"{_long(part)} {count:,}" for part, count in fold.groups.items())
        yield f"    {result.group_name}s: {counts}"
    yield from _audit(fold, result.group_name)
    if fold.empty:
        yield f"    EMPTY: no sample in {' and '.join(fold.empty)}: this fold cannot be run"
    if fold.selected_on_test:
        yield "    LEAK: the selection set holds samples of the test set"
    elif not fold.empty:
        yield "    the selection set is not the test set"
    yield from _lacking(fold)
    yield from _scores(fold)
    whole = first and len(result.class_names) <= MOST_CLASSES
    yield from _classes(fold, result.class_names, whole, result.class_noun)


def _audit(fold: FoldAudit, group_name: str) -> Iterator[str]:
    """The leaks, then the kinds of keys by which all parts are disjoint."""
    words = {"id": "id", "group": "group" if group_name == "group" else f"group ({group_name})", "content": "content"}
    words |= {name: name for name in fold.further}
    compared = {"group": bool(fold.groups), "content": fold.contents}
    clean = []
    for kind, word in words.items():
        overlaps = [overlap for overlap in fold.overlaps if overlap.kind == kind]
        if overlaps:
            yield from _wrapped(f"LEAK by {word}: {sentence(overlaps)}", "    ", "      ")
        elif compared.get(kind, True):
            clean.append(f"by {word}")
    if clean:
        yield f"    train, validation and test are disjoint {', '.join(clean)}"
    if not fold.groups:
        yield "    groups are not compared: they are unknown"
    if not fold.contents:
        yield "    contents are not compared: no sample was read"


def _lacking(fold: FoldAudit) -> Iterator[str]:
    """A line for each modality that some samples lack."""
    for m, counts in fold.lacking.items():
        parts = ", ".join(f"{_long(part)} {count:,} of {fold.sizes[part]:,}" for part, count in counts.items())
        yield from _wrapped(f"without {in_line(m)}: {parts}", "    ", "      ")
        if fold.sizes["train"] and counts["train"] == fold.sizes["train"]:
            yield from _wrapped(
                f"ABSENT: no training sample has {in_line(m)}: this fold cannot be run with it", "    ", "      "
            )


def _scores(fold: FoldAudit) -> Iterator[str]:
    ranges = [f"{_long(part)} {low:g} to {high:g}, mean {mean:.3f}" for part, (low, mean, high) in fold.spread.items()]
    if ranges:
        yield f"    scores: {'; '.join(ranges)}"


def _classes(fold: FoldAudit, names: Sequence[str], whole: bool, noun: str) -> Iterator[str]:
    """The histogram, or its range in each part; then the classes that have no sample in a part."""
    if whole and fold.classes:
        counts = zip(names, zip(*fold.classes.values(), strict=True), strict=True)
        text = "; ".join(f"{in_line(name)} {'/'.join(map(str, count))}" for name, count in counts)
        yield from _wrapped(
            f"{noun}{'es' if noun == 'class' else 's'} ({'/'.join(PARTS.values())}): {text}", "    ", "      "
        )
    elif fold.classes:
        ranges = (f"{_long(part)} {min(counts):,} to {max(counts):,}" for part, counts in fold.classes.items())
        yield f"    samples per {noun}: {', '.join(ranges)}"
    for part in fold.classes:
        if fold.sizes[part] and (absent := [names[k] for k in fold.absent(part)]):
            yield from _wrapped(f"absent from {_long(part)}: {in_line('; '.join(absent))}", "    ", "      ")


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
