"""The part of `make perf` on `--deterministic`: the time of a step with it over that without it."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection

import torch

from mcr_bench.bench.core import device as devices
from mcr_bench.bench.core.device import Precision
from mcr_bench.bench.perf.measured import Machine, Measured, in_turns, ratio
from mcr_bench.bench.perf.workloads import precisions, reference_method, training_run, workloads
from mcr_bench.bench.training.loop import Training, train_epoch

Asked = tuple[str, Precision]  # name of the workload, precision


def determinism(machine: Machine) -> Iterator[Measured]:
    """Joint training of each workload, in two processes that take turns: determinism is chosen once for a process."""
    with processes(machine.place) as pipes:
        for name, workload in workloads(machine).items():
            for precision in (p for p in precisions(machine, workload) if p != "tf32"):
                works = [partial(epoch, pipe, (name, precision)) for pipe in pipes]
                times = in_turns(works, machine.device, here=False)
                yield ratio(f"{name} {precision}: --deterministic / without", *times)


@contextmanager
def processes(place: str) -> Iterator[list[Connection]]:
    """Inside the block, pipes to two processes that train epochs on the device: a deterministic one, and another."""
    context, pipes, started = multiprocessing.get_context("spawn"), [], []
    try:
        for deterministic in (True, False):
            ours, theirs = context.Pipe()
            started.append(context.Process(target=serve, args=(theirs, place, deterministic), daemon=True))
            started[-1].start()
            theirs.close()
            pipes.append(ours)
        yield pipes
    finally:
        for process in started:
            process.kill()


def epoch(pipe: Connection, asked: Asked) -> None:
    """Let the process at the other end of the pipe train an epoch; RuntimeError with its reason if it fails."""
    pipe.send(asked)
    try:
        failed = pipe.recv()
    except EOFError:
        failed = "the process that trains has ended"
    if failed:
        raise RuntimeError(failed)


def serve(pipe: Connection, place: str, deterministic: bool) -> None:
    """Train an epoch for every message, and answer with the reason if it fails, else with an empty text."""
    torch.set_num_threads(1)
    runs: dict[Asked, Training] = {}
    with suppress(EOFError):
        while True:
            asked: Asked = pipe.recv()
            try:
                if asked not in runs:
                    runs = {asked: _made(place, asked, deterministic)}
                train_epoch(runs[asked])
                devices.synchronise(runs[asked].fit.device)
                pipe.send("")
            except Exception as error:  # whatever it is, the process that measures reports it
                pipe.send(f"{type(error).__name__}: {error}")


def _made(place: str, asked: Asked, deterministic: bool) -> Training:
    here = Machine(place, devices.ready(place, deterministic))
    workload = workloads(here)[asked[0]]
    return training_run(here, workload, reference_method(), asked[1], deterministic=deterministic)
