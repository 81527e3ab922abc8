"""An archive of runs: one ZIP file that any program can read, without MLflow and without running anything in it.

    manifest.json         {"format": "mcr-bench runs", "schema": 1, "version": ..., "runs": [{"key", "size", "sha256"}]}
    runs/KEY/run.json     everything of a run but its files (`whole.WholeRun`): settings, tags, curves, names of files
    runs/KEY/files/NAME   a file of the run, such as predictions.parquet

Each size and SHA-256 of `runs` is that of the run's run.json, which holds those of its files. The same runs give the
same bytes (with the same zlib): entries are in the order of their names and have no times.
"""

import errno
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mcr_bench import __version__
from mcr_bench.bench.core.faults.full_disk import FULL
from mcr_bench.bench.core.files import whole_file
from mcr_bench.bench.core.interrupts import check
from mcr_bench.bench.errors import UserError, one_line
from mcr_bench.bench.exchange.origins import Origin
from mcr_bench.bench.exchange.whole import Malformed, WholeRun, text_of
from mcr_bench.bench.record.files.checksums import checksum
from mcr_bench.bench.record.runs import StoredRun
from mcr_bench.bench.runs.words import counted

FORMAT, SCHEMA = "mcr-bench runs", 1
MANIFEST = "manifest.json"
NO_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a ZIP file can name


def run_entry(key: str) -> str:
    """The entry with everything of a run but its files."""
    return f"runs/{key}/run.json"


def file_entry(key: str, name: str) -> str:
    """The entry of a file of a run."""
    return f"runs/{key}/files/{name}"


def write_archive(path: Path, origin: Origin, runs: Iterable[StoredRun]) -> tuple[int, list[str], list[str]]:
    """Write runs of an origin to a new file.

    Returns how many they are, a line for each that cannot be written, and one for each file that is missing of others.

    UserError if the file exists. The file is there when it is complete, and not before; without a run there is none.
    """
    if path.exists():
        raise UserError(f"'{path}' exists, and nothing is overwritten. Choose another name, or delete it.")
    listed, left_out, incomplete = [], list[str](), list[str]()
    with _written(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for run in sorted(runs, key=lambda run: run.tags["key"]):
            check()
            told = f"{run.tags.get('label', 'a run')} ({run.tags['key']})"
            try:
                whole = origin.whole(run)
                contents = {file.name: origin.content(run, file) for file in whole.files}
            except (OSError, Malformed) as error:
                if isinstance(error, OSError) and error.errno in FULL:  # of what was fetched from a server
                    raise
                left_out.append(f"{told}: {one_line(str(error), 500)}")
                continue
            listed.append(_write_run(archive, whole, contents))
            incomplete += [f"{told}: its {name} is missing." for name in whole.missing]
        content = {"format": FORMAT, "schema": SCHEMA, "version": __version__, "runs": listed}
        _put(archive, MANIFEST, json.dumps(content, sort_keys=True, indent=1).encode())
    if not listed:
        path.unlink()
    return len(listed), left_out, incomplete


def require_written(path: Path, count: int, asked: int) -> None:
    """UserError if none of the runs that were asked for could be written, so that there is no archive."""
    if not count:
        raise UserError(f"'{path}' is not written, as none of {counted(asked)} can be read whole.")


@contextmanager
def _written(path: Path) -> Iterator[BinaryIO]:
    """As `whole_file`; UserError where no file can be made there."""
    try:
        with whole_file(path) as file:
            yield file
    except OSError as error:
        if error.errno not in NO_PLACE:
            raise
        raise UserError(
            f"'{path}' cannot be written: {error.strerror}. Name a file in a folder you may write to."
        ) from error


def _write_run(archive: zipfile.ZipFile, whole: WholeRun, contents: Mapping[str, bytes]) -> dict[str, str | int]:
    text = text_of(whole)
    _put(archive, run_entry(whole.key), text)
    for name, content in sorted(contents.items()):
        _put(archive, file_entry(whole.key, name), content)
    return {"key": whole.key, "size": len(text), "sha256": checksum(text)}


def _put(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, EPOCH)
    info.compress_type, info.create_system, info.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
    archive.writestr(info, content)
