"""The part of `make perf` on loops of users' own: a method by a `Balancer` beside the same method written by hand."""

from collections.abc import Iterator
from copy import deepcopy

import torch

from mcr_bench.bench.core.seeds import generator
from mcr_bench.bench.perf.measured import Machine, Measured, in_turns, of_rounds, ratio
from mcr_bench.bench.perf.own_loop_nets import CLASSES, Net, by_balancer, by_hand, loop
from mcr_bench.bench.perf.table import table

BATCH, SIDE, STEPS, ROUNDS = 32, 64, 4, 15


def own_loop(machine: Machine) -> Iterator[Measured]:
    """Milliseconds per step of both, and their ratio, taken in turns."""
    method = table()["by_hand"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Net()
    nets = [deepcopy(net).to(machine.device).train() for _ in range(2)]
    samples = {
        m: torch.randn(BATCH, channels, SIDE, SIDE, generator=generator(0, "data", m)).to(machine.device)
        for m, channels in (("m1", 1), ("m2", 3))
    }
    target = (torch.arange(BATCH) % CLASSES).to(machine.device)
    ways = (by_balancer(nets[0], method), by_hand(nets[1]))
    works = [loop(net, backward, samples, target, STEPS) for net, backward in zip(nets, ways, strict=True)]
    ours, theirs = in_turns(works, machine.device, least=ROUNDS)
    for name, taken in (("Balancer", ours), ("by hand", theirs)):
        yield of_rounds(f"{method} in an own loop: {name}, ms per step", [1000 * s / STEPS for s in taken], "ms")
    yield ratio(f"{method} in an own loop: Balancer / by hand", ours, theirs)
