"""Greedy: the gated net layer by layer, the learning speeds by loops, and which steps rebalance which modality."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.models.build import encoder_of
from mcr_bench.bench.models.kinds import fusion_kinds
from mcr_bench.bench.planning.heads import heads_of
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.settings.declaration import build
from mcr_bench.bench.settings.training import EncoderSettings
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, whole_batch
from mcr_bench.datasets.base import Batch, Inputs
from mcr_bench.methods.greedy import Greedy, slower
from mcr_bench.methods.terms.gating.stagewise import after, stage_channels, stagewise

DOUBLE = {"dtype": torch.float64, "clip_norm": 0.0}
Gate = dict[str, Tensor]


@dataclass
class Hand:
    """What the net gives, layer by layer: each branch's logits (B, C), and the gates (B, K_m) of every place."""

    branches: dict[str, Tensor]
    gates: list[Gate]

    def loss(self, target: Tensor) -> Tensor:
        return sum((nn.functional.cross_entropy(h, target) for h in self.branches.values()), torch.zeros(()))


def by_hand(fit: Fit, replaced: dict[str, list[Tensor]] | None = None, without: Tensor | None = None) -> Hand:
    """replaced: modality -> gates (K_m,) that stand for its own. without: (B,) bool, samples that lack audio."""
    model, inputs = fit.model, whole_batch(fit).inputs.values
    layers = {m: [x for x in model.encoders[m].modules() if isinstance(x, nn.Linear)] for m in model.modalities}
    x = {m: inputs[m].flatten(1) for m in model.modalities}
    gates = []
    for place, gate in enumerate(model.extras["gates"]):
        x = {m: layers[m][place](x[m]).relu() for m in x}
        seen = dict(x)
        if without is not None:
            seen["audio"] = torch.where(without[:, None], 0.0, x["audio"])
        joined = sum((s @ gate.squeeze[m].weight.T + gate.squeeze[m].bias for m, s in seen.items()), torch.zeros(()))
        hidden = joined.clamp(min=0)
        gates.append({m: 2 / (1 + (-gate.excite[m](hidden)).exp()) for m in x})
        used = {m: replaced[m][place] if replaced and m in replaced else gates[-1][m] for m in x}
        x = {m: x[m] * used[m] for m in x}
    head = model.fusion
    return Hand({m: 2 * f @ head.slices[m].weight.T + head.bias for m, f in x.items()}, gates)


def opened(method: Greedy, *args: object, **settings: object) -> Fit:
    """A fit whose gates differ from 1, at which they start."""
    fit = make_fit(method, *args, **{**DOUBLE, **settings})  # type: ignore[arg-type]
    assert all((g == 1).all() for gate in by_hand(fit).gates for g in gate.values())
    draws = torch.Generator().manual_seed(3)
    for gate in fit.model.extras["gates"]:
        for layer in gate.excite.values():
            with torch.no_grad():
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=draws))
    return fit


@pytest.mark.parametrize("names", [NAMES[:2], ("text", "depth")])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_net_and_its_loss(depth: int, names: tuple[str, ...]) -> None:
    method = Greedy()
    encoder = build(EncoderSettings, {"width": 8, "depth": depth})
    fit = opened(method, names, Task(4), encoder=encoder)
    assert len(list(fit.model.extras["gates"])) == depth
    batch, hand = whole_batch(fit), by_hand(fit)
    outputs = method.forward(batch)
    mean = torch.stack(list(hand.branches.values())).mean(0)
    torch.testing.assert_close(outputs.logits, mean)
    torch.testing.assert_close(method.predict(fit.model, batch.inputs).logits, mean)
    terms = method.loss(outputs, batch)
    for m, h in hand.branches.items():
        assert terms[f"branch/{m}"].item() == pytest.approx(nn.functional.cross_entropy(h, batch.target).item())


SHAPES = {
    "mlp": ((7,), False),
    "conv1d": ((9, 4), True),
    "conv2d": ((3, 12, 12), False),
    "conv2d of clips": ((5, 3, 12, 12), True),
    "resnet18": ((3, 33, 33), False),
    "transformer": ((6, 4), True),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_factors_of_one_change_nothing_and_others_act_on_every_stage(kind: str) -> None:
    shape, padded = SHAPES[kind]
    facts, settings = Modality(shape, padded), {"kind": kind.split()[0], "width": 4, "depth": 3}
    chosen = encoder_of(build(EncoderSettings, settings), facts)
    torch.manual_seed(0)
    net = chosen.kind.make(facts, 6, chosen.values).eval()
    values = torch.randn(3, *shape)
    lengths = torch.tensor([2, shape[0], 4]) if padded else None
    expected = net(values, lengths)
    channels = stage_channels(net, 6)
    for changed in (None, *range(len(channels))):
        run = stagewise(net, values, lengths)
        pooled = next(run)
        for place, size in enumerate(channels):
            assert pooled.shape == (3, size)
            factors = torch.full((3, size), 0.5 if place == changed else 1.0)
            pooled = after(run, factors)
        assert torch.allclose(pooled, expected, atol=1e-5) == (changed is None)
        with pytest.raises(StopIteration):
            next(run)


def speeds_by_loops(fit: Fit) -> list[list[float]]:
    """Of each modality mu of its gates and mu of its own parameters, by their qualified names."""
    rows = []
    for m in fit.model.modalities:
        sums = {"gates": [0.0, 0.0], "own": [0.0, 0.0]}
        for name, p in fit.model.named_parameters():
            assert p.grad is not None or name.startswith("own_heads")
            concerns = name.startswith("extras.gates") and (".squeeze." in name or f".excite.{m}." in name)
            own = name.startswith((f"encoders.{m}.", f"fusion.slices.{m}."))
            for group in (["gates"] if concerns else []) + (["own"] if own else []):
                assert p.grad is not None
                sums[group][0] += sum(x * x for x in p.grad.flatten().tolist())
                sums[group][1] += sum(x * x for x in p.detach().flatten().tolist())
        rows.append([sums["gates"][0] / sums["gates"][1], sums["own"][0] / sums["own"][1]])
    return rows


def gradients(method: Greedy) -> None:
    fit = method.fit
    batch = whole_batch(fit)
    fit.zero_grad()
    outputs = method.forward(batch)
    method.backward(method.loss(outputs, batch))
    method.after_backward(outputs, batch)


@pytest.mark.parametrize(("eps", "steps", "start"), [(0.0, 2, 1), (0.02, 3, 2), (1e6, 5, 1), (0.0, 0, 1)])
def test_speeds_add_up_and_say_which_steps_rebalance(eps: float, steps: int, start: int) -> None:
    method = Greedy(eps=eps, steps=steps, start=start)
    fit = opened(method, optimizer__lr=0.05)
    totals, left, curated = [[0.0, 0.0], [0.0, 0.0]], 0, [False, False]
    happened = 0
    for number in range(12):
        fit.epoch = 1 + number // 4
        assert method.state_dict()["curated"].tolist() == curated
        gradients(method)
        if left:
            left -= 1
            curated = [c and left > 0 for c in curated]
        else:
            found = speeds_by_loops(fit)
            totals = [[a + b for a, b in zip(t, f, strict=True)] for t, f in zip(totals, found, strict=True)]
            d = math.log10(totals[0][0] / totals[0][1]) - math.log10(totals[1][0] / totals[1][1])
            if abs(d) > eps and steps and fit.epoch >= start:
                left, curated, happened = steps, [d > 0, d < 0], happened + 1
        kept = method.state_dict()
        assert kept["totals"].flatten().tolist() == pytest.approx([x for row in totals for x in row], rel=1e-6)
        assert int(kept["left"]) == left
        fit.optimizer.step()
    assert (happened > 1) == (eps < 1 and steps > 0)


@pytest.mark.parametrize("place", [0, 1])
def test_steps_that_rebalance_use_the_mean_gates_of_that_modality(place: int) -> None:
    method = Greedy()
    fit = opened(method, optimizer__lr=0.1)
    m = fit.model.modalities[place]
    seen = []
    for _ in range(3):
        seen.append([gate[m].mean(0).detach() for gate in by_hand(fit).gates])
        step(method)
    state = method.state_dict()
    flags = torch.arange(2) == place
    method.load_state_dict({**state, "curated": flags, "left": torch.tensor(4)})
    seen.append([gate[m].mean(0).detach() for gate in by_hand(fit).gates])  # its own gates are those of no replacement
    means = [torch.stack([one[at] for one in seen]).mean(0) for at in range(len(seen[0]))]
    first = torch.stack([one[0] for one in seen]).mean(0)
    torch.testing.assert_close(means[0], first)
    outputs = method.forward(whole_batch(fit))
    hand = by_hand(fit, {m: [means[0], *later_means(fit, m, seen, means)]})
    torch.testing.assert_close(outputs.logits, torch.stack(list(hand.branches.values())).mean(0), rtol=1e-6, atol=1e-8)


def later_means(fit: Fit, m: str, seen: list[list[Tensor]], means: list[Tensor]) -> list[Tensor]:
    """The mean gates after the first place, whose gates of the last step see stages that mean gates have multiplied."""
    later: list[Tensor] = []
    for at in range(1, len(means)):
        now = by_hand(fit, {m: [means[0], *later, *means[len(later) + 1 :]]}).gates[at][m].mean(0).detach()
        later.append(torch.stack([*(one[at] for one in seen[:-1]), now]).mean(0))
    return later


def test_who_is_slower_by_hand() -> None:
    assert slower(torch.tensor([[1.0, 1.0], [1.0, 1.0]]), 0.0).tolist() == [False, False]
    assert slower(torch.tensor([[1.0, 1.0], [1.0, 0.1]]), 0.9).tolist() == [False, True]
    assert slower(torch.tensor([[1.0, 1.0], [1.0, 0.1]]), 1.1).tolist() == [False, False]
    assert slower(torch.tensor([[0.0, 0.0], [1.0, 0.1]]), 0.0).tolist() == [False, False]


def test_what_a_sample_lacks_opens_no_gate() -> None:
    method = Greedy()
    fit = opened(method)
    whole = whole_batch(fit)
    has = torch.arange(24) % 3 > 0
    batch = Batch(Inputs(whole.inputs.values, present={"audio": has}), whole.target, whole.index)
    outputs = method.forward(batch)
    hand = by_hand(fit, without=~has)
    torch.testing.assert_close(outputs.logits, torch.stack(list(hand.branches.values())).mean(0))
    cost = nn.functional.cross_entropy(hand.branches["audio"][has], batch.target[has])
    assert method.loss(outputs, batch)["branch/audio"].item() == pytest.approx(cost.item(), rel=1e-9)
    for mean, gate in zip(method.state_dict()["means"], hand.gates, strict=True):
        torch.testing.assert_close(mean[0], gate["audio"][has].mean(0))
        torch.testing.assert_close(mean[1], gate["video"].mean(0))


def test_it_is_refused_where_it_is_not_defined() -> None:
    needs = registry.method("greedy").needs
    assert needs.unmet(3, Task(4)) == "takes at most 2 modalities, not 3"
    refused = {head for head, reason in heads_of(registry.method("greedy")).items() if reason}
    assert refused == {name for name, kind in fusion_kinds().items() if not kind.additive}
