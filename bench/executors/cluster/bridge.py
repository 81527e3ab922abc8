"""The process that talks to Ray: it takes orders from the command, and sends back what happens in the cluster.

It is a process of its own, as Ray ends the process that it is used in when the head of its cluster is lost, prints to
its terminal, and may block it for a minute. Whatever happens here, the command goes on, and answers Ctrl-C.
"""

import os
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing import parent_process
from multiprocessing.connection import wait
from pathlib import Path

from mcr_bench.bench.core.workers.serving import Pipe
from mcr_bench.bench.errors import in_words, one_line
from mcr_bench.bench.executors.cluster.messages import Refused
from mcr_bench.bench.executors.cluster.orders import Order, Setting
from mcr_bench.bench.executors.cluster.tasks import Tasks
from mcr_bench.bench.executors.failures import traceback_of

LOG = "ray.log"
IDLE_SECONDS = 0.2
# A command should not wait long for a head that is gone; of a Ray of its own nothing is sent to anybody.
ENVIRONMENT = {"RAY_gcs_rpc_server_reconnect_timeout_s": "20", "RAY_USAGE_STATS_ENABLED": "0"}


def serve(pipe: Pipe, setting: Setting) -> None:
    """Connect to the cluster, and carry out the orders of the command until it ends this process, or ends itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the command's to handle
    _print_to(setting.home / LOG)
    threading.Thread(target=_end_with_command, daemon=True).start()
    try:
        tasks = Tasks(setting)
    except Exception as error:  # of any type that Ray raises
        os.write(2, f"{traceback_of(error)}\n".encode(errors="backslashreplace"))  # into Ray's log
        pipe.send(Refused(_why(setting, error)))
        return
    signal.signal(signal.SIGTERM, _leave)  # after Ray, which sets a handler of its own
    with suppress(EOFError, OSError), tasks:
        while True:
            for message in tasks.messages():
                pipe.send(message)
            while pipe.poll(0 if tasks.busy else IDLE_SECONDS):
                order: Order | int = pipe.recv()
                if isinstance(order, int):
                    tasks.drop(order)
                else:
                    tasks.start(order)


def _end_with_command() -> None:
    """End when the command has ended, whatever Ray is doing; Ray then ends the tasks."""
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _leave(_number: int, _frame: object) -> None:
    sys.exit(0)


def _why(setting: Setting, error: Exception) -> str:
    where = setting.address or os.environ.get("RAY_ADDRESS")
    said = one_line(in_words(error))
    if where is None:
        return f"Ray cannot be started on this machine: {said}. What it printed is in {setting.home / LOG}."
    return (
        f"there is no Ray cluster at '{where}': {said}. Start one with `ray start --head`, and give the address that "
        "it prints (--ray-address HOST:6379), or `--ray-address auto` on a machine of the cluster."
    )


def _print_to(log: Path) -> None:
    """Send what Ray prints to a file: the terminal belongs to the progress display."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)
