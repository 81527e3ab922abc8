"""Stored rows of the next batches are read by a background thread while the present batch is worked on."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue

import torch
from torch import Tensor

from mcr_bench.bench.core import device as devices
from mcr_bench.bench.problem.stored import Read, StoredRows
from mcr_bench.datasets.base import Split

AHEAD = 2  # batches that are read before they are asked for
BUFFERS = AHEAD + 1  # of pinned memory, each as large as a batch: two ahead, and one that is still being copied
PATIENCE = 1.0  # seconds that an error waits for the thread, which may hang in a read; it ends with the process at last

Taken = dict[int, Callable[[], Tensor]]  # by the id of the rows, as a user's may be unhashable


@contextmanager
def reading(split: Split, order: Tensor, size: int) -> Iterator[Sequence[Tensor]]:
    """Inside the block the batches of `order`, of `size` samples each, are read ahead; gives the index of each batch.

    order: (n,) int64 on the CPU, indices of samples. The indices given, (B,) each, are on the device of the split: pass
    these very tensors, in their order, to `split.batch` or `split.training_batch`. Any other index is read when it is
    asked for, as everything of a split without stored rows is. The batches are the same as without reading ahead, and
    the thread draws no random numbers. Its errors are raised where the batch is asked for. It ends with the block.
    Where a thread does not help, nothing is read ahead.
    """
    device = split.target.device
    hosts = order.split(size)
    parts = hosts if device.type == "cpu" else order.to(device).split(size)
    rows = list({id(x): x for x in split.values.values() if isinstance(x, StoredRows)}.values())
    if not rows or not helps(device):
        yield parts
        return
    reader = Reader(rows, hosts, parts)
    before = [x.ahead for x in rows]
    for x in rows:
        x.ahead = reader.taken
    reader.start()
    done = False
    try:
        yield parts
        done = True
    finally:
        for x, ahead in zip(rows, before, strict=True):
            x.ahead = ahead
        reader.stop(None if done else PATIENCE)


def helps(device: torch.device) -> bool:
    """Whether a thread makes training on `device` faster: not on a CPU.

    There a batch is a copy out of the page cache, a twentieth of the work that follows on the same core; measured with
    one core per run, a thread costs 7 to 18 % of the time of making batches and saves nothing.
    """
    return device.type != "cpu"


class Reader:
    """Reads the stored rows of batches in a thread, at most `AHEAD` batches before they are asked for."""

    def __init__(self, rows: Sequence[StoredRows], hosts: Sequence[Tensor], parts: Sequence[Tensor]) -> None:
        """hosts: the index (B,) of each batch on the CPU; parts: the same on the device of the split."""
        self._hosts, self._parts = hosts, parts
        self._places = {id(part): place for place, part in enumerate(parts)}
        self._present: Taken = {}  # of the batch that was asked for last
        self._place = -1  # the place of that batch
        self._queue: SimpleQueue[Taken | BaseException] = SimpleQueue()
        self._free = threading.Semaphore(AHEAD)
        self._stopped = False
        self._sources = [_Source(x, len(hosts[0])) for x in rows if x.held is None]
        self._thread = threading.Thread(target=self._run, name="reader of batches", daemon=True)

    def start(self) -> None:
        """Begin to read; nothing is read where all rows are in the memory of the device."""
        if self._sources:
            self._thread.start()

    def stop(self, patience: float | None = None) -> None:
        """End the thread and wait until it has ended, at most `patience` seconds."""
        self._stopped = True
        self._free.release()
        if self._thread.ident is not None:
            self._thread.join(patience)

    def taken(self, rows: StoredRows, index: Tensor) -> Read | None:
        """The rows of the batch whose index is this tensor; None for another index, or if they were taken before."""
        place = self._places.get(id(index))
        if place is None:
            return None
        if rows.held is not None:
            return Read(rows.held[index], self._hosts[place])
        while self._place < place:
            self._next()
        given = self._present.pop(id(rows), None) if self._place == place else None
        return None if given is None else Read(given(), self._hosts[place])

    def _next(self) -> None:
        """Wait for the next batch; raise the error of the thread if there is one."""
        given = self._queue.get()
        if isinstance(given, BaseException):
            self._queue.put(given)  # whoever asks again gets it again
            raise given
        self._present, self._place = given, self._place + 1
        self._free.release()

    def _run(self) -> None:
        try:
            devices.ready(str(self._sources[0].rows.device))  # a thread begins with the first GPU as its current one
            for index in self._hosts:
                self._free.acquire()
                if self._stopped:
                    return
                self._queue.put({id(source.rows): source.read(index) for source in self._sources})
        except BaseException as error:
            self._queue.put(error)


class _Source:
    """One modality that is read ahead, and its way to the device."""

    def __init__(self, rows: StoredRows, size: int) -> None:
        """size: the largest number of samples of a batch."""
        self.rows = rows
        self._uploads = devices.uploads(rows.device, (size, *rows.row), rows.dtype, BUFFERS)

    def read(self, index: Tensor) -> Callable[[], Tensor]:
        """Read the rows at `index` (B,) and begin to copy them; the result gives them on the device."""
        block = self._uploads.block(len(index))
        self.rows.read(index, block)
        return self._uploads.begin(block)
