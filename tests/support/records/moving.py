"""Homes whose runs are moved: those of two machines, and what of a record must be the same after a move."""

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mcr_bench.bench.record.tracking import Record
from mcr_bench.tests.support.records.homes import SMALL
from mcr_bench.tests.support.records.recorded import empty_record, pretend

RUNS = 4  # of each machine


def make_homes(folder: Path) -> Path:
    """Homes `one` and `two` with the seeds 0 and 1 of joint, ensemble and unimodal runs; `empty` without a run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        template = Record(home=folder / "empty")
        template.prepare()
        for seed, name in enumerate(("one", "two")):
            record = empty_record(template, folder / name)
            pretend(record, "synthetic", "joint", "ensemble", preset="balanced", seeds=[seed], set=SMALL)
    return folder


def content(home: Path) -> dict[str, object]:
    """Key -> what is on record of its run, without what is of this home alone: curves, settings, tags and files."""
    record = Record(home=home)
    return {
        row.key: (
            row.value,
            dict(row.metrics),
            dict(row.settings),
            dict(row.other_presets),
            row.started,
            row.ended,
            record.history(row.run_id),
            {path.name: path.read_bytes() for path in home.glob(f"artifacts/*/{row.run_id}/artifacts/*")},
        )
        for row in record.rows()
    }


def rewrite(file: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """The archive with other entries; `change` is given name -> content."""
    with zipfile.ZipFile(file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file


def sealed(entries: dict[str, bytes], key: str, change: Callable[[dict[str, object]], object]) -> None:
    """Change the text of a run and write its new size and checksum into the manifest, as a forger would."""
    from hashlib import sha256

    name = f"runs/{key}/run.json"
    run = json.loads(entries[name])
    change(run)
    entries[name] = json.dumps(run).encode()
    manifest = json.loads(entries["manifest.json"])
    for listed in manifest["runs"]:
        if listed["key"] == key:
            listed |= {"size": len(entries[name]), "sha256": sha256(entries[name]).hexdigest()}
    entries["manifest.json"] = json.dumps(manifest).encode()


def keys_in(entries: Mapping[str, bytes]) -> list[str]:
    """The keys of the runs in an archive."""
    return [run["key"] for run in json.loads(entries["manifest.json"])["runs"]]
