"""A dataset of clips as its split lists alone describe it, for an audit without any recording."""

from pathlib import Path

import numpy as np

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.cache.opened import Cache, Index, Manifest
from mcr_bench.datasets.cache.recipe import Recipe, Scan
from mcr_bench.datasets.raw.lists import without_entries

NOTE = "audited alone: every listed clip counts, no recording was read, and contents are not compared"


def cache_of_lists(name: str, recipe: Recipe, scan: Scan) -> Cache:
    """A cache of every listed clip, without samples and without hashes of contents; UserError without clips.

    name: the name of the dataset.
    """
    if not scan.clips:
        raise UserError(f"the lists of {name} contain no clip. Use them as they were published.")
    index = Index(
        [c.id for c in scan.clips], [c.group for c in scan.clips], [], np.array([c.label for c in scan.clips])
    )
    manifest: Manifest = {
        "format": 1,
        "dataset": name,
        "recipe": {"name": recipe.name, "digest": recipe.digest, "settings": {}, "fields": {}},
        "clips": {"kept": len(scan.clips)},
        "labels": str(index.labels.dtype),
        "fingerprint": "",
        "lists": {},
        "sizes": {},
        "sha256": {},
        "quarantine": [],
        "problems": [list(problem) for problem in (*scan.problems, *without_entries(scan.lists))],
        "notes": [list(note) for note in (*scan.notes, ("lists", NOTE))],
    }
    return Cache(Path(), manifest, index, np.arange(len(scan.clips)), [], scan.lists, {}, {})
