"""The part of `make perf` on loops of users' own: what is timed against each other computes the same."""

from copy import deepcopy

import pytest
import torch

from mcr_bench.bench.perf.measured import machine
from mcr_bench.bench.perf.own_loop_nets import CLASSES, Net, by_balancer, by_hand, loop
from mcr_bench.bench.perf.parts import own_loop
from mcr_bench.bench.perf.table import table, wanted


def test_by_hand_and_by_a_balancer_the_weights_are_the_same() -> None:
    torch.manual_seed(0)
    net = Net().double().train()
    start, other = deepcopy(net.state_dict()), deepcopy(net)
    samples = {m: torch.randn(12, channels, 16, 16).double() for m, channels in (("m1", 1), ("m2", 3))}
    target = torch.arange(12) % CLASSES
    samples["m1"] += target[:, None, None, None]  # one modality is ahead, so that its encoder is slowed
    for one, backward in ((net, by_balancer(net, table()["by_hand"])), (other, by_hand(other))):
        loop(one, backward, samples, target, 3)()
    theirs = other.state_dict()
    assert max(float((value - theirs[key]).abs().max()) for key, value in net.state_dict().items()) <= 1e-12
    assert not torch.equal(start["head.weight"], theirs["head.weight"])


def test_the_ratio_is_that_of_the_times_and_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_loop, "in_turns", lambda *_, **__: [[2.0, 4.0], [1.0, 4.0]])
    one, other, ratio = own_loop.own_loop(machine("cpu"))
    assert [round(value.value) for value in (one, other)] == [750, 625]
    assert ratio.value == 1.5
    assert wanted("cpu", ratio.title) == 1.05
