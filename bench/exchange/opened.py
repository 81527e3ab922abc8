"""Open an archive of runs that anyone may have written: all of it is checked before the first run is taken from it."""

import re
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mcr_bench.bench.core.interrupts import check
from mcr_bench.bench.core.json_values import Json
from mcr_bench.bench.errors import UserError, one_line
from mcr_bench.bench.exchange.archive import FORMAT, MANIFEST, SCHEMA, file_entry, run_entry
from mcr_bench.bench.exchange.whole import KEY, SHA256, Malformed, RunFile, WholeRun, object_in, run_of
from mcr_bench.bench.record.files.checksums import checksum
from mcr_bench.bench.record.runs import StoredRun

GIB = 2**30
MOST_GIB, LARGEST_TEXT = 16.0, GIB // 4
MOST_RUNS = 100_000
# Text may be a hundred times smaller when it is packed; predictions are packed already.
PACKED, HARMLESS = 200, 64 * 2**20
KINDS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


class Archive:
    """An archive whose content has been compared with its checksums. It is an origin of runs.

    `Malformed`, which says what is wrong with it, unless all of it is what this program writes.
    """

    def __init__(self, path: Path, zipped: zipfile.ZipFile, most_gib: float) -> None:
        self.name, self.home, self._zip = str(path), None, zipped
        self._entries = {info.filename: info for info in zipped.infolist()}
        _require_plain(zipped.infolist(), most_gib)
        self._listed = self._manifest()
        expected, runs = {MANIFEST}, list[StoredRun]()
        for key in self._listed:
            check()
            run = self._run(key)
            entries = {file_entry(key, file.name): file for file in run.files}
            for entry, file in entries.items():
                self._read(entry, file.size, file.sha256)
            expected |= {run_entry(key), *entries}
            runs.append(run.stored)
        if unknown := sorted(self._entries.keys() - expected):
            raise Malformed(f"it holds '{one_line(unknown[0])}', which none of its runs names")
        self._runs = runs

    def runs(self) -> list[StoredRun]:
        return self._runs

    def whole(self, run: StoredRun) -> WholeRun:
        return self._run(run.tags["key"])

    def content(self, run: StoredRun, file: RunFile) -> bytes:
        return self._read(file_entry(run.tags["key"], file.name), file.size, file.sha256)

    def _run(self, key: str) -> WholeRun:
        try:
            run = run_of(self._text(run_entry(key), *self._listed[key]))
            if run.key != key:
                raise Malformed(f"its key is {run.key}")
        except Malformed as error:
            raise Malformed(f"run {key}: {error}") from error
        return run

    def _manifest(self) -> dict[str, tuple[int, str]]:
        """Key -> size and checksum of its text."""
        entry = self._entries.get(MANIFEST)
        if entry is None:
            raise Malformed(f"it has no {MANIFEST}")
        manifest = object_in(self._text(MANIFEST, entry.file_size, ""), MANIFEST)
        if manifest.get("format") != FORMAT:
            raise Malformed(f"its {MANIFEST} does not say that it holds runs")
        schema, listed = manifest.get("schema"), manifest.get("runs")
        if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
            raise Malformed("its schema is not a whole number")
        if schema > SCHEMA:
            raise Malformed(f"a newer version has written it (schema {schema}; this one reads {SCHEMA}): install that")
        if not isinstance(listed, list) or len(listed) > MOST_RUNS:
            raise Malformed(f"its {MANIFEST} has no list of at most {MOST_RUNS} runs")
        runs = dict(_listed(one) for one in listed)
        if len(runs) < len(listed):
            raise Malformed("a key is listed twice")
        return runs

    def _text(self, name: str, size: int, expected: str) -> bytes:
        if size > LARGEST_TEXT:
            raise Malformed(f"'{name}' is a text of {size / GIB:.1f} GiB")
        return self._read(name, size, expected)

    def _read(self, name: str, size: int, expected: str) -> bytes:
        """The content of an entry of this size and checksum; `Malformed` where it has others."""
        entry = self._entries.get(name)
        if entry is None:
            raise Malformed(f"'{name}' is missing in it")
        if entry.file_size != size:
            raise Malformed(f"'{name}' has {entry.file_size} bytes, and {size} are listed")
        with self._zip.open(entry) as file:
            content = file.read(size + 1)
        if len(content) != size or (expected and checksum(content) != expected):
            raise Malformed(f"'{name}' is damaged: its content does not have the SHA-256 that is listed")
        return content


@contextmanager
def opened(path: Path, most_gib: float = MOST_GIB) -> Iterator[Archive]:
    """The archive in a file; UserError unless it is one, is whole, and unpacks to at most `most_gib` GiB.

    Nothing of it is written anywhere, and no name in it is used as a path before it has been checked.
    """
    if not path.is_file():
        raise UserError(f"'{path}' is not a file. Give one that `mcr-bench export` or `submit` has written.")
    with ExitStack() as stack:
        try:
            archive = Archive(path, stack.enter_context(zipfile.ZipFile(path)), most_gib)
        except Malformed as error:
            raise UserError(f"'{path}' is refused: {error}. Nothing of it was taken.") from error
        except BROKEN as error:
            raise UserError(
                f"'{path}' is not a complete archive of runs ({one_line(str(error), 200)}). Fetch or export it again."
            ) from error
        yield archive


def _require_plain(entries: list[zipfile.ZipInfo], most_gib: float) -> None:
    """`Malformed` for entries that are not plain files of the names that are written here, or that are too large."""
    twice = [name for name, count in Counter(info.filename.casefold() for info in entries).items() if count > 1]
    if twice:
        raise Malformed(f"it holds '{one_line(twice[0])}' twice")
    for info in entries:
        if not re.fullmatch(r"manifest\.json|runs/[\w-]{1,64}/(run\.json|files/[^\\]+)", info.filename):
            raise Malformed(f"it holds '{one_line(info.filename)}', which is not a name of such an archive")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG) or info.is_dir() or info.flag_bits & 1 or info.compress_type not in KINDS:
            raise Malformed(
                f"'{one_line(info.filename)}' in it is not a plain file: links and the like are not allowed"
            )
        if info.file_size > HARMLESS and info.file_size > PACKED * info.compress_size:
            raise Malformed(
                f"'{one_line(info.filename)}' in it unpacks to {info.file_size / GIB:.1f} GiB, {PACKED} times its size"
            )
    total = sum(info.file_size for info in entries) / GIB
    if total > most_gib:
        raise Malformed(f"it unpacks to {total:.1f} GiB, and {most_gib:g} are allowed (--most-gib)")


def _listed(one: Json) -> tuple[str, tuple[int, str]]:
    match one:
        case {"key": str(key), "size": int(size), "sha256": str(sha256)}:
            if KEY.fullmatch(key) and SHA256.fullmatch(sha256):
                return key, (size, sha256)
    raise Malformed(f"its {MANIFEST} lists a run without key, size and sha256")
