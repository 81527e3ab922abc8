"""The tasks of Ray that train the runs of a command, and what becomes of them."""

import pickle
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from mcr_bench.bench.core.files import write_whole
from mcr_bench.bench.executors.cluster.connection import connected, nodes_of
from mcr_bench.bench.executors.cluster.losses import lost_by
from mcr_bench.bench.executors.cluster.messages import Ended, Lost, Message, Report, Room, Started
from mcr_bench.bench.executors.cluster.node import train_here
from mcr_bench.bench.executors.cluster.orders import Order, Setting, Task
from mcr_bench.bench.runs.events import Event, RunFailed

TURN_SECONDS = 0.2
LOOK_SECONDS = 2.0  # between two looks at the nodes


class Tasks:
    """The tasks of one command. Leave the `with` block to end them, and a Ray that was started for the command."""

    def __init__(self, setting: Setting) -> None:
        self._ray = connected(setting.address)
        self._setting = setting
        self._orders: dict[Any, Order] = {}  # generator of a task -> what it carries out
        self._room, self._looked = Room({}, setting.share), -LOOK_SECONDS
        self._driver = self._ray.get_runtime_context().get_node_id()
        self._function = self._ray.remote(train_here)
        self._token = setting.home / f".seen-by-nodes-{secrets.token_hex(8)}"
        self._token.touch()

    def __enter__(self) -> "Tasks":
        return self

    def __exit__(self, *error: object) -> None:
        self._token.unlink(missing_ok=True)
        for generator in self._orders:
            with suppress(Exception):
                self._ray.cancel(generator, force=True)
        self._ray.shutdown()

    @property
    def busy(self) -> bool:
        """Whether a task was started that has not ended."""
        return bool(self._orders)

    def start(self, order: Order) -> None:
        """Hand a run to Ray, which decides on the node."""
        setting, share = self._setting, self._room.share
        task = Task(
            pickle.dumps(order.job),
            order.job.spec.key,
            setting.entry,
            setting.folder,
            setting.version,
            tuple(sys.path),
            setting.home,
            self._token.name,
            self._driver,
        )
        elsewhere = set(self._room.nodes) != {self._driver}
        weights = {
            key: [self._ray.put(path.read_bytes())]
            for key, path in order.job.weights.items()
            if elsewhere and path.is_file()
        }
        function = self._function.options(
            num_cpus=share.cpu, num_gpus=1 if order.whole else share.gpu, max_retries=0, num_returns="streaming"
        )
        self._orders[function.remote(task, weights)] = order

    def drop(self, number: int) -> None:
        """End the task of the order with this number, if there is one; nobody hears of it any more."""
        for generator in [one for one, order in self._orders.items() if order.number == number]:
            self._ray.cancel(generator, force=True)
            del self._orders[generator]

    def messages(self) -> Iterator[Message]:
        """What has happened since; waits a moment for something if a task is at work."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            nodes = nodes_of(self._ray)
            if nodes != self._room.nodes:
                share = self._room.share.on(nodes)  # as the first nodes have it: later ones do not change the device
                self._room = Room(nodes, share)
                yield self._room
        for generator in self._ready():
            yield self._orders[generator].number, self._report(generator)

    def _ready(self) -> list[Any]:
        tasks = list(self._orders)
        if not tasks or not self._ray.wait(tasks, num_returns=1, timeout=TURN_SECONDS, fetch_local=False)[0]:
            return []
        ready: list[Any] = self._ray.wait(tasks, num_returns=len(tasks), timeout=0, fetch_local=False)[0]
        return ready

    def _report(self, generator: Any) -> Started | Lost | Event:
        """The next report of a task; its last one ends the order."""
        report: Report
        try:
            report = self._ray.get(next(generator))
        except StopIteration:
            report = Lost("its task ended without a word")
        except Exception as error:  # of any type: Ray has one for each way to lose a task
            self._looked = -LOOK_SECONDS  # a node may be gone
            report = lost_by(error, self._orders[generator].job.spec.key, self._ray.exceptions)
        if isinstance(report, Ended | Lost | RunFailed):
            del self._orders[generator]
        return _kept(report) if isinstance(report, Ended) else report


def _kept(ended: Ended) -> Event:
    """The last event of a run, after its files were written at home."""
    try:
        for path, content in ended.files.items():
            write_whole(path, content)
    except OSError as error:
        reason = f"trained, but its files could not be written: {error}"
        return RunFailed(ended.event.key, reason)
    return ended.event
