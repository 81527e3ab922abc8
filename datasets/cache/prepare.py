"""Raw clips -> a cache: in parallel, resumable after a kill at any time, and never mistaken for complete before it is.

A cache is prepared in FOLDER.part and renamed when it is complete. Rows in that folder or in a finished cache are used
again if the checksums of the raw files and of the rows are right. Everything else is decoded again, including clips in
quarantine. If no clip can be used, nothing is written, and a finished cache does not change.
"""

import os
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

from mcr_bench.bench.core.user_files import portable
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.cache import layout as _places
from mcr_bench.datasets.cache.decoding import Answer, Decoder, Order, Sums, checksum
from mcr_bench.datasets.cache.journal import Donor, Draft, Entry, finished, left_behind
from mcr_bench.datasets.cache.libraries import versions
from mcr_bench.datasets.cache.made import Made, listed, report_of
from mcr_bench.datasets.cache.manifest import findings_of, small_files
from mcr_bench.datasets.cache.opened import open_cache
from mcr_bench.datasets.cache.prepared import require_free, writing
from mcr_bench.datasets.cache.recipe import Recipe, Scan
from mcr_bench.datasets.cache.workers import ATTEMPTS, NotLoaded, spread

if TYPE_CHECKING:
    from mcr_bench.datasets.base import Preparation  # its module imports torch

__all__ = ["Made", "NothingUsable", "prepare_clips", "report_of"]


class NothingUsable(UserError):
    """No clip of a raw folder can be used; nothing was written."""


def prepare_clips(name: str, recipe: Recipe, scan: Scan, request: "Preparation", folder: Path) -> Made:
    """Bring the cache in `folder` up to date with the raw clips.

    name: the name of the dataset. UserError if no clip can be used, if the folder cannot be written, if the disk is too
    small, or if another process is preparing this dataset.
    """
    _require_clips(scan, request.source)
    with writing(folder.parent, request.source):
        require_free(folders=_places.all_of(folder))
        _places.recover(folder)
        work = _Work(name, recipe, scan, request, folder)
        try:
            work.go()
            return work.finish()
        finally:
            work.close()


class _Work:
    """A cache that is brought up to date. `draft` is None while the finished cache has all rows that are needed."""

    def __init__(self, name: str, recipe: Recipe, scan: Scan, request: "Preparation", folder: Path) -> None:
        self.name, self.recipe, self.scan, self.request, self.folder = name, recipe, scan, request, folder
        self.ids = [clip.id for clip in scan.clips]
        self.entries: dict[int, Entry] = {}
        self.reasons: dict[int, str] = {}
        self.sums: dict[int, Sums] = {}
        self.decoded = 0
        self.libraries: set[str] = set()
        self.draft: Draft | None = None
        self.finished = self._finished()
        self.stale: Donor | None = None
        if not self._finished_fits() or _places.is_begun(folder):
            self._begin()

    def _finished(self) -> Donor | None:
        try:
            return finished(open_cache(self.folder), self.recipe)
        except UserError:
            return None  # missing or damaged, so it is made again

    def _finished_fits(self) -> bool:
        if self.finished is None or self.finished.store.slots != len(self.ids):
            return False
        slots = {clip: slot for slot, clip in enumerate(self.ids)}
        return all(slots.get(clip) == entry.slot for clip, entry in self.finished.entries.items())

    def _begin(self) -> Draft:
        """Start a new cache with a copy of the rows that have been read from the finished cache so far."""
        part = _places.part(self.folder)
        _places.require_room(self.folder.parent, part, self.recipe, len(self.ids))
        try:
            self.draft = Draft(part, self.recipe, self.ids)
        except (ValueError, EOFError, FileNotFoundError):
            _places.put_aside(part)
            self.draft = Draft(part, self.recipe, self.ids)
        self.stale = left_behind(_places.stale(self.folder), self.recipe)
        for libraries in self.libraries:
            self.draft.note(libraries)
        for slot, entry in self.entries.items():
            assert self.finished is not None
            self.draft.put(self.ids[slot], entry, self.finished.store.read(slot))
        return self.draft

    def _donors(self) -> list[Donor]:
        return [donor for donor in (self.draft, self.stale, self.finished) if donor is not None]

    def go(self) -> None:
        """Process every clip: afterwards it has rows, or a reason why it has none."""
        orders, total = self._orders(), len(self.ids)
        decoder = Decoder(replace(self.recipe, decode=portable(self.recipe.decode)), self.request.source)
        self.request.progress(0, total)
        try:
            with closing(spread(decoder, orders, max(1, self.request.jobs))) as answers:
                for order, answer in answers:
                    if not self._settle(order, _died(order, answer) if isinstance(answer, str) else answer):
                        orders.append(Order(order.slot, order.clip, (), order.sums))
                    self.request.progress(len(self.entries) + len(self.reasons), total)
        except NotLoaded as error:
            decode = getattr(self.recipe.decode, "func", self.recipe.decode)
            raise UserError(
                f"{self.name}: {decode.__module__}.{decode.__qualname__} cannot be loaded in a worker process "
                f"({error}). Keep it at the top level of a module that can be imported, installed or on PYTHONPATH."
            ) from error

    def _orders(self) -> deque[Order]:
        shared = self._shared()
        donors = self._donors()
        orders: deque[Order] = deque()
        for slot, clip in enumerate(self.scan.clips):
            earlier = {donor.entries[clip.id].source for donor in donors if clip.id in donor.entries}
            sums = {role: shared[path] for role, path in clip.files.items() if path in shared}
            orders.append(Order(slot, clip, tuple(sorted(earlier)), sums))
        return orders

    def _shared(self) -> dict[Path, tuple[int, str]]:
        """Path -> size and checksum of the files of which several clips are parts.

        An unreadable file is left out: it becomes the reason of each of its clips.
        """
        uses = Counter(path for clip in self.scan.clips for path in clip.files.values())
        return {
            path: checksum(path) for path, n in uses.items() if n > 1 and path.is_file() and os.access(path, os.R_OK)
        }

    def _settle(self, order: Order, answer: Answer) -> bool:
        """Use an answer; False if the rows that were decoded earlier are damaged, so that the clip must be decoded."""
        slot, clip = order.slot, order.clip.id
        self.sums[slot] = answer.sums
        if answer.reason:
            self._quarantine(slot, clip, answer.reason)
        elif answer.rows:
            entry = Entry(slot, answer.source, answer.content, answer.lengths, answer.findings)
            self._note({versions(self.recipe.libraries)} if not self.decoded else ())
            (self.draft or self._begin()).put(clip, entry, answer.rows)
            self.entries[slot] = entry
            self.decoded += 1
        else:
            return self._take_over(slot, clip, answer.source)
        return True

    def _quarantine(self, slot: int, clip: str, reason: str) -> None:
        if self.draft is None and self.finished is not None and clip in self.finished.entries:
            self._begin()
        if self.draft is not None:
            self.draft.store.blank(slot)
        self.reasons[slot] = reason

    def _note(self, libraries: Iterable[str]) -> None:
        """Record the versions of the libraries with which the following rows were decoded."""
        for text in sorted(set(libraries) - self.libraries):
            self.libraries.add(text)
            if self.draft is not None:
                self.draft.note(text)

    def _take_over(self, slot: int, clip: str, source: str) -> bool:
        for donor in self._donors():
            entry = donor.entries.get(clip)
            if entry is None or entry.source != source:
                continue
            rows = donor.rows(entry)
            if rows is None:
                continue
            self._note(donor.libraries)
            self.entries[slot] = replace(entry, slot=slot)
            if self.draft is not None and donor is not self.draft:
                self.draft.put(clip, self.entries[slot], rows)
            return True
        return False

    def finish(self) -> Made:
        """Write the small files and replace the finished cache, unless nothing has changed."""
        part = _places.part(self.folder)
        if not self.entries:
            _places.discard(part)
            _places.tidy(self.folder)
            raise NothingUsable(self._nothing())
        if self.draft is not None:
            self.draft.store.sync()
        files = self._files(self.folder if self.draft is None else part)
        current = self.draft is None and _places.holds(self.folder, files)
        if not current:
            if self.draft is None:
                _places.link_arrays(self.folder, part, self.recipe.fields)
            _places.write(part, files)
            _places.put_in_place(self.folder)
        _places.tidy(self.folder)
        kept, problems = len(self.entries), self.scan.problems
        findings = findings_of(self.scan, self.entries)
        quarantine, notes = self._quarantined(), self.scan.notes
        return Made(len(self.ids), kept, self.decoded, quarantine, problems, findings, notes, current)

    def _quarantined(self) -> list[tuple[str, str]]:
        return [(self.ids[slot], reason) for slot, reason in sorted(self.reasons.items())]

    def _files(self, arrays_in: Path) -> Mapping[str, bytes]:
        arrays = {f"{field}.npy": (arrays_in / f"{field}.npy").stat().st_size for field in self.recipe.fields}
        settled = (self.entries, self.reasons, self.sums)
        return small_files(self.name, self.recipe, self.scan, self.request.source, *settled, arrays, self.libraries)

    def _nothing(self) -> str:
        first = listed(self._quarantined(), 3, "")
        return f"none of the {len(self.ids)} clips in '{self.request.source}' can be used:\n{first}"

    def close(self) -> None:
        """Close all files."""
        if self.draft is not None:
            self.draft.close()
        for donor in (self.stale, self.finished):
            if donor is not None:
                donor.store.close()


def _require_clips(scan: Scan, source: Path) -> None:
    counts = Counter(clip.id for clip in scan.clips)
    twice = [clip for clip, n in counts.items() if n > 1]
    if twice:
        more = f" and {len(twice) - 3} more" if len(twice) > 3 else ""
        raise UserError(
            f"'{source}': {len(twice)} clip ids occur more than once: {', '.join(twice[:3])}{more}. "
            "Remove the second copies."
        )
    several = [clip for clip in scan.clips if not isinstance(clip.label, Real)]
    if several:
        raise UserError(
            f"'{source}': the label of clip '{several[0].id}' is {several[0].label!r}. A clip has one number: a class "
            "index, or one score. Several labels or scores per sample (multi-label, vector regression) are available "
            "for array files, as y (N, L), and for datasets that derive from Dataset; not for prepared clips."
        )
    if not counts:
        remarks = [*scan.notes, *scan.problems]
        first = f":\n{listed(remarks, 3, '')}" if remarks else "."
        raise NothingUsable(f"'{source}' has no clip that can be used{first}")


def _died(order: Order, cause: str) -> Answer:
    """The answer to an order that ended every worker process that tried it. cause: how the last one ended."""
    readable = {role: path for role, path in order.clip.files.items() if path.is_file() and os.access(path, os.R_OK)}
    sums = {role: checksum(path) for role, path in readable.items()}
    return Answer({**sums, **order.sums}, reason=f"decoding it ended the worker process, {ATTEMPTS} times: {cause}")
