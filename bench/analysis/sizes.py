"""The numbers of samples that runs were trained, validated and tested on, for the note below every table."""

from collections.abc import Iterable

from mcr_bench.bench.record.row import RunRow

PARTS = (("training", "train"), ("validation", "val"), ("test", "test"))
LISTED = 6  # the largest number of folds whose sizes are listed


def split_sizes(rows: Iterable[RunRow]) -> list[str]:
    """The sizes of the parts, one text for each that differs; empty if none is on record."""
    sizes = dict.fromkeys(_sizes(row) for row in rows)
    texts = [text for text in sizes if text]
    more = len(texts) - LISTED
    return [*texts[:LISTED], *([f"and {more} more"] if more > 0 else [])]


def sizes_note(rows: Iterable[RunRow]) -> list[str]:
    """The note below a table; none if no size is on record."""
    sizes = split_sizes(rows)
    return [f"split sizes: {'; '.join(sizes)}"] if sizes else []


def _sizes(row: RunRow) -> str:
    return ", ".join(f"{name} {row.samples[part]}" for name, part in PARTS if part in row.samples)
