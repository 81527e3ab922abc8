"""Stored rows of the next batches are read by a background thread while the present batch is worked on."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue

import torch
from torch import Tensor

from mcr_bench.bench.core import device as devices
from mcr_bench.bench.problem.stored import StoredRows
from mcr_bench.datasets.base import Split

AHEAD = 2  # batches that are read before they are asked for
SLOTS = AHEAD + 1  # of pinned memory, each for a batch: two ahead, and the one that is being copied
PATIENCE = 1.0  # seconds that an error waits for the thread, which may hang in a read; it ends with the process at last

Block = Callable[[], Tensor]  # brings rows that were read to the device
Blocks = dict[int, Block]  # of a batch, by the id of the rows, as a user's may be unhashable


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
    patience: float | None = PATIENCE
    try:
        reader.start()
        for x in rows:
            x.beside.begin()
            x.ahead = reader.batch
        yield parts
        patience = None
    finally:
        for x, ahead in zip(rows, before, strict=True):
            x.ahead = ahead
        reader.stop(patience)


def helps(device: torch.device) -> bool:
    """Whether a thread makes training on `device` faster: on GPUs of CUDA, not on a CPU.

    On a CPU a batch is a copy out of the page cache, a twentieth of the work that follows on the same core; measured
    with one core per run, a thread costs 7 to 18 % of the time of making batches and saves nothing.
    """
    return device.type == "cuda"


class Reader:
    """Reads the stored rows of batches in a thread, at most `AHEAD` batches before they are asked for."""

    def __init__(self, rows: Sequence[StoredRows], hosts: Sequence[Tensor], parts: Sequence[Tensor]) -> None:
        """hosts: the index (B,) of each batch on the CPU; parts: the same on the device of the split."""
        self._hosts, self._parts = hosts, parts
        self._places = {id(part): place for place, part in enumerate(parts)}
        self._present: Blocks = {}  # of the batch that was asked for last
        self._place = -1  # the place of that batch
        self._queue: SimpleQueue[Blocks | BaseException] = SimpleQueue()
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

    def batch(self, rows: StoredRows, index: Tensor, seed: int | None) -> Tensor | None:
        """The batch whose index is this tensor; None for another index, or if its rows were taken before."""
        place = self._places.get(id(index))
        if place is None:
            return None
        block = self._block(rows, index, place)
        if block is None:
            return None
        return rows.beside.made(lambda: rows.made(block(), self._hosts[place], seed))

    def _block(self, rows: StoredRows, index: Tensor, place: int) -> Block | None:
        held = rows.held
        if held is not None:
            return lambda: held[index]
        while self._place < place:
            self._next()
        return self._present.pop(id(rows), None) if self._place == place else None

    def _next(self) -> None:
        """Wait for the next batch; raise the error of the thread if there is one."""
        read = self._queue.get()
        if isinstance(read, BaseException):
            self._queue.put(read)  # whoever asks again gets it again
            raise read
        self._present, self._place = read, self._place + 1
        self._free.release()

    def _run(self) -> None:
        try:
            for place, index in enumerate(self._hosts):
                self._free.acquire()
                if self._stopped:
                    return
                self._queue.put({id(source.rows): source.read(place, index) for source in self._sources})
        except BaseException as error:
            self._queue.put(error)


class _Source:
    """One modality that is read ahead, with the slots through which it goes to the device."""

    def __init__(self, rows: StoredRows, size: int) -> None:
        """size: the largest number of samples of a batch."""
        self.rows = rows
        self._slots = [devices.Slot(rows.device, (size, *rows.row), rows.dtype) for _ in range(SLOTS)]

    def read(self, place: int, index: Tensor) -> Block:
        """Read the rows at `index` (B,), those of the batch at `place`."""
        slot = self._slots[place % SLOTS]
        block = slot.block(len(index))
        self.rows.read(index, block)
        return lambda: slot.copy(block)
