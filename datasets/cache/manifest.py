"""The small files of a cache: index, sources, lists and manifest. Equal input gives equal bytes in any folder."""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from urllib.parse import quote

from mcr_bench.datasets.cache.decoding import Sums
from mcr_bench.datasets.cache.journal import Entry
from mcr_bench.datasets.cache.opened import INDEX, LENGTH, MANIFEST
from mcr_bench.datasets.cache.recipe import Clip, Recipe, Scan

FORMAT = 1
SOURCES = "sources.csv"


def small_files(
    name: str,
    recipe: Recipe,
    scan: Scan,
    source: Path,
    entries: Mapping[int, Entry],
    reasons: Mapping[int, str],
    sums: Mapping[int, Sums],
    arrays: Mapping[str, int],
    libraries: Iterable[str] = (),
) -> dict[str, bytes]:
    """Name in the cache -> content of each small file, the manifest last.

    name: the name of the dataset.
    source: the raw folder; its path is left out.
    entries: slot -> row that is kept.
    reasons: slot -> why a clip is in quarantine.
    sums: slot -> size and checksum of the files of a clip.
    arrays: name -> size of each array file.
    libraries: the versions of the libraries that decoded the rows.
    """
    kept = [(slot, clip) for slot, clip in enumerate(scan.clips) if slot in entries]
    whole = all(isinstance(clip.label, Integral) for clip in scan.clips)
    lists = {title: f"lists/{at:02}-{quote(title, safe='')}" for at, title in enumerate(sorted(scan.lists))}
    files = {
        INDEX: _table(_index(recipe, kept, entries, whole)),
        SOURCES: _table(_sources(scan.clips, sums, source)),
        **{file: scan.lists[title] for title, file in lists.items()},
    }
    fields = {field: [list(f.shape), f.dtype, f.padded] for field, f in recipe.fields.items()}
    manifest = {
        "format": FORMAT,
        "dataset": name,
        "recipe": {"name": recipe.name, "digest": recipe.digest, "settings": dict(recipe.settings), "fields": fields},
        "libraries": sorted(libraries),
        "clips": {
            "found": len(scan.clips),
            "kept": len(kept),
            "quarantined": len(reasons),
            "left_out": len(scan.problems),
        },
        "labels": "int64" if whole else "float64",
        "fingerprint": _fingerprint(fields, kept, entries, scan.lists),
        "lists": lists,
        "sizes": {**arrays, **{file: len(content) for file, content in files.items()}},
        "sha256": {file: hashlib.sha256(content).hexdigest() for file, content in files.items()},
        "quarantine": [[scan.clips[slot].id, reason] for slot, reason in sorted(reasons.items())],
        "problems": [[what, reason.replace(f"{source}/", "")] for what, reason in scan.problems],
        "findings": [list(finding) for finding in findings_of(scan, entries)],
        "notes": [list(note) for note in scan.notes],
    }
    return {**files, MANIFEST: (json.dumps(manifest, indent=1) + "\n").encode()}


def findings_of(scan: Scan, entries: Mapping[int, Entry]) -> list[tuple[str, str]]:
    """(clip, what looks wrong about it) of the kept clips. entries: slot -> row."""
    return [(scan.clips[slot].id, what) for slot in sorted(entries) for what in entries[slot].findings]


def _index(
    recipe: Recipe, kept: Sequence[tuple[int, Clip]], entries: Mapping[int, Entry], whole: bool
) -> Iterable[Sequence[object]]:
    padded = [name for name, field in recipe.fields.items() if field.padded]
    yield ["id", "group", "label", "slot", "source", "content", *(LENGTH + name for name in padded)]
    for slot, clip in kept:
        entry = entries[slot]
        label = int(clip.label) if whole else float(clip.label)
        yield [clip.id, clip.group, label, slot, entry.source, entry.content, *(entry.lengths[name] for name in padded)]


def _sources(clips: Sequence[Clip], sums: Mapping[int, Sums], source: Path) -> Iterable[Sequence[object]]:
    yield ["id", "role", "path", "size", "sha256"]
    for slot, clip in enumerate(clips):
        for role, path in sorted(clip.files.items()):
            inside = path.relative_to(source).as_posix() if path.is_relative_to(source) else path.name
            yield [clip.id, role, inside, *sums[slot].get(role, ("", ""))]


def _fingerprint(
    fields: object, kept: Sequence[tuple[int, Clip]], entries: Mapping[int, Entry], lists: Mapping[str, bytes]
) -> str:
    clips = [[clip.id, clip.group, float(clip.label), entries[slot].content] for slot, clip in kept]
    hashed_lists = [[name, hashlib.sha256(content).hexdigest()] for name, content in sorted(lists.items())]
    return hashlib.sha256(json.dumps([fields, clips, hashed_lists], sort_keys=True).encode()).hexdigest()


def _table(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC).writerows(rows)
    return text.getvalue().encode(errors="surrogateescape")
