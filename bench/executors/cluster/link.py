"""The process that talks to Ray, as the command sees it."""

from collections.abc import Iterator

from mcr_bench.bench.core.workers import pool
from mcr_bench.bench.core.workers.processes import Spawned
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.executors.cluster.bridge import ENVIRONMENT, LOG, serve
from mcr_bench.bench.executors.cluster.messages import Message, Refused, Room
from mcr_bench.bench.executors.cluster.orders import Order, Setting

POLL_SECONDS = 0.5
STOP_SECONDS = 1.5  # in which it ends its tasks; killed after that, Ray ends them


class Bridge:
    """It starts at once. Leave the `with` block to end it."""

    def __init__(self, setting: Setting) -> None:
        start = Spawned("mcr-bench ray", serve, setting, environment=ENVIRONMENT)
        said = f"{setting.home / LOG} has what Ray said"
        self.gone = f"the connection to the Ray cluster was lost. Start the command again; {said}"
        self._worker = pool.Worker[Order | int, Message](start, patience=STOP_SECONDS)
        self._stopped = False

    def __enter__(self) -> "Bridge":
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def room(self) -> Room:
        """The cluster, once there is a connection; UserError if there is none."""
        while True:
            for message in self.messages():
                if isinstance(message, Room):
                    return message
                reason = message.reason if isinstance(message, Refused) else f"{self.gone}."
                raise UserError(reason)

    def send(self, order: Order) -> None:
        """Have a run trained."""
        self._worker.give(order)

    def drop(self, number: int) -> None:
        """Have the run of the order with this number trained no longer."""
        self._worker.give(number)

    def messages(self) -> Iterator[Message | None]:
        """What it has sent, None as the last one if it has ended; waits a moment for something."""
        pool.ready([self._worker], POLL_SECONDS)
        yield from self._worker.events()

    def stop(self) -> None:
        """End it, and with it all that Ray does for this command."""
        if not self._stopped:
            self._stopped = True
            self._worker.stop()
