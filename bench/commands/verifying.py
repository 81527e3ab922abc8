"""Tell the state of every file of a record: whole, damaged, missing, or without a checksum to verify it by."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from mcr_bench.bench.commands.output import nothing_in, print_json, say
from mcr_bench.bench.record.checked import Checked
from mcr_bench.bench.record.files.lost import REMEDY
from mcr_bench.bench.record.tracking import Record


def show_checked(record: Record, as_json: bool) -> bool:
    """Print the state of the files of a record; returns whether nothing that is read is damaged, missing or outside.

    As text only what is not whole is named, and how many files there are; JSON holds all of them.
    """
    files = record.checked()
    if as_json:
        print_json([asdict(one) for one in files])
    elif not files:
        say(nothing_in(record))
    else:
        _say_files(files)
    return all(one.in_order for one in files)


def _say_files(files: Sequence[Checked]) -> None:
    for one in files:
        if one.state not in ("whole", "unverifiable"):
            note = " (a later run has replaced this one: nothing reads the file)" if one.replaced else ""
            say(f"{one.state}: {one.file} of {one.run}: run {one.run_id}: {one.reason}{note}")
    old = [one for one in files if one.state == "unverifiable"]
    for one in old:
        say(f"unverifiable: {one.file} of {one.run}: run {one.run_id}: {one.reason}")
    counts = Counter(one.state for one in files)
    say(f"{len(files)} files: " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
    if any(one.bad for one in files):
        say(f"{REMEDY} Until then what is computed from these files is missing; metrics are not affected.")
