"""A Balancer in loops of unusual but right shapes, and its refusals of those that would go wrong without a word."""

import copy
import io
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mcr_bench.bench.api.balancer import Balancer
from mcr_bench.bench.errors import UserError

NAMES = ("audio", "video")


class Net(nn.Module):
    """Two encoders and one linear layer for each, of which the first alone has a bias, as in the code of MLB."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(3)
        self.e = nn.ModuleDict({m: nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4)) for m in NAMES})
        self.f = nn.ModuleDict({m: nn.Linear(4, 3, bias=m == "audio") for m in NAMES})
        self.o = nn.ModuleDict({m: nn.Linear(4, 3) for m in NAMES})
        for parameter in self.double().parameters():
            parameter.data = 0.6 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64)

    def features(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        return {m: self.e[m](x[m]) for m in NAMES}

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        a, v = (self.f[m](f) for m, f in self.features(x).items())
        made: Tensor = a + v
        return made

    def gradients(self) -> dict[str, Tensor]:
        return {name: p.grad for name, p in self.named_parameters() if p.grad is not None}


def data(seed: int = 0) -> tuple[dict[str, Tensor], Tensor]:
    draw, target = torch.Generator().manual_seed(seed), torch.arange(12) % 3
    return {m: torch.randn(12, 5, generator=draw, dtype=torch.float64) + target[:, None] for m in NAMES}, target


def balanced(net: Net, method: str, **settings: float) -> Balancer:
    return Balancer(method, net.e, net.f, heads=dict(net.o.items()), settings=settings)  # type: ignore[arg-type]


def scale(parameters: list[nn.Parameter], factor: Tensor) -> None:
    for parameter in parameters:
        assert parameter.grad is not None
        parameter.grad *= factor


def true(logits: Tensor, target: Tensor) -> Tensor:
    return F.softmax(logits.detach(), -1)[range(12), target]


def ogm(net: Net, x: dict[str, Tensor], y: Tensor) -> None:
    """arXiv 2203.15332, equations 8 to 10; the bias is shared in equal parts."""
    features = net.features(x)
    F.cross_entropy(net(x), y).backward()
    scores = {m: true(f @ net.f[m].weight.T + net.f["audio"].bias / 2, y).sum() for m, f in features.items()}  # type: ignore[union-attr, operator]
    for m, other in (NAMES, NAMES[::-1]):
        if scores[m] > scores[other]:
            scale([p for p in net.e[m].parameters() if p.ndim > 1], 1 - torch.tanh(0.8 * scores[m] / scores[other]))


def mlb(net: Net, x: dict[str, Tensor], y: Tensor) -> None:
    """k_m = 1 + tanh(alpha (s_other / s_m - 1)), of encoder, own head and the weight of the fusion's part."""
    own = {m: net.o[m](f) for m, f in net.features(x).items()}
    torch.stack([F.cross_entropy(z, y) for z in (net(x), *own.values())]).sum().backward()
    scores = {m: true(z, y).mean() for m, z in own.items()}
    for m, other in (NAMES, NAMES[::-1]):
        parts = [*net.e[m].parameters(), *net.o[m].parameters(), net.f[m].weight]
        scale(parts, 1 + torch.tanh(0.8 * (scores[other] / scores[m] - 1)))  # type: ignore[arg-type]


def mmpareto(net: Net, x: dict[str, Tensor], y: Tensor) -> None:
    """The two gradients of an encoder at their min-norm point where they conflict, as long as their sum, times 1.5."""
    fused = F.cross_entropy(net(x), y)
    own = {m: F.cross_entropy(net.o[m](f), y) for m, f in net.features(x).items()}
    torch.stack([fused, *own.values()]).sum().backward(retain_graph=True)
    for m in NAMES:
        parts = list(net.e[m].parameters())
        one, two = (torch.autograd.grad(loss, parts, retain_graph=True) for loss in (fused, own[m]))
        a, b = (torch.cat([g.flatten() for g in gradients]) for gradients in (one, two))
        share = 0.5 if a @ b > 0 else float(((b @ b - a @ b) / ((a - b) @ (a - b))).clamp(0, 1))
        for part, g, h in zip(parts, one, two, strict=True):
            made = 2 * share * g + 2 * (1 - share) * h
            part.grad = 1.5 * made * max(1.0, float((g + h).norm() / made.norm()))


@pytest.mark.parametrize("rule", [ogm, mlb, mmpareto])
def test_gradients_are_those_of_the_rule_written_out(rule: Callable[[Net, dict[str, Tensor], Tensor], None]) -> None:
    for seed in range(3):
        mine, theirs, (x, y) = Net(), Net(), data(seed)
        balance = balanced(mine, rule.__name__, **({} if rule is mmpareto else {"alpha": 0.8}))
        balance.backward(mine(x), y)
        rule(theirs, x, y)
        assert largest_difference(mine, theirs) < 1e-12


def largest_difference(one: Net, other: Net) -> float:
    a, b = one.gradients(), other.gradients()
    return max(float((a[name] - b[name]).abs().max()) for name in a.keys() & b.keys())


def test_the_last_pass_counts_and_a_copy_is_not_watched() -> None:
    mine, theirs, (x, y) = Net(), Net(), data()
    balance = balanced(mine, "ogm")
    mine(data(9)[0])  # a batch that is skipped
    average = copy.deepcopy(mine)
    logits = mine(x)
    average(data(8)[0])
    balance.backward(logits, y)
    balanced_twin = balanced(theirs, "ogm")
    balanced_twin.backward(theirs(x), y)
    assert largest_difference(mine, theirs) == 0


def test_logits_of_an_earlier_pass_are_refused() -> None:
    net, (x, y) = Net(), data()
    balance, first = balanced(net, "ogm"), net(x)
    net(data(9)[0])
    with pytest.raises(UserError, match="not those of the last forward pass in training mode"):
        balance.backward(first, y)


def test_what_a_scaler_multiplies_is_not_seen_by_the_method() -> None:
    mine, theirs, (x, y) = Net(), Net(), data()
    for net, factor in ((mine, 1024.0), (theirs, 1.0)):  # agm clips where a gradient is larger than 1
        balanced(net, "agm").backward(net(x), y, by=lambda loss, factor=factor: (factor * loss).backward())  # type: ignore[misc]
    for parameter in mine.parameters():
        parameter.grad = None if parameter.grad is None else parameter.grad / 1024
    assert largest_difference(mine, theirs) < 1e-15
    with pytest.raises(UserError, match="computes the gradients of its losses one after the other"):
        balanced(mine, "mmpareto").backward(mine(x), y, by=lambda loss: loss.backward())


@pytest.mark.parametrize("method", ["agm", "midas", "multi-loss"])
def test_a_checkpoint_in_the_middle_of_an_epoch_continues_to_an_equal_end(method: str) -> None:
    ends = []
    for cut in (None, (7, 1)):
        net = Net()
        balance = Balancer(method, net.e, net.f)  # type: ignore[arg-type]
        for epoch in range(8):  # midas warms up for five
            balance.start_epoch()
            for number in range(3):
                if cut == (epoch, number):
                    file = io.BytesIO()
                    torch.save([net.state_dict(), balance.state_dict()], file)
                    balance.remove()
                    weights, state = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
                    net = Net()
                    net.load_state_dict(weights)
                    balance = Balancer(method, net.e, net.f)  # type: ignore[arg-type]
                    for part in balance.parameters():
                        nn.init.zeros_(part)
                    balance.load_state_dict(state)
                x, y = data(10 * epoch + number)
                net.zero_grad()
                balance.backward(net(x), y)
                with torch.no_grad():
                    for p in (*net.e.parameters(), *net.f.parameters(), *balance.parameters()):
                        if p.grad is not None:
                            p -= 0.1 * p.grad
                            p.grad = None
        ends.append(net.state_dict())
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


class Several(nn.Module):
    """A fusion that gives its logits among other things."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(8, 3).double()

    def forward(self, audio: Tensor, video: Tensor) -> tuple[Tensor, Tensor]:
        return audio, self.last(torch.tanh(torch.cat([audio, video], -1)))


class Named(nn.Module):
    """An encoder that is called by keyword."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *, values: Tensor) -> Tensor:
        made: Tensor = self.inner(values)
        return made


def test_encoders_by_keyword_and_a_fusion_that_gives_several_things() -> None:
    net, (x, y), fusion = Net(), data(), Several()
    encoders = {m: Named(net.e[m]) for m in NAMES}
    balance = Balancer("agm", encoders, fusion, task=3)
    given = fusion(*(encoders[m](values=x[m]) for m in NAMES))
    with pytest.raises(UserError, match=r"the logits are a tuple. Give a tensor \(12, 3\)"):
        balance.backward(given, y)
    balance.backward(given[1], y)
    assert net.gradients().keys() == {name for name, _ in net.named_parameters() if name.startswith("e.")}


def test_a_frozen_encoder_may_be_in_evaluation_mode() -> None:
    net, (x, y) = Net(), data()
    net.e["audio"].requires_grad_(False).eval()
    balanced(net, "mmpareto").backward(net(x), y)
    assert {name.split(".")[1] for name in net.gradients() if name.startswith("e.")} == {"video"}
    for method in ("ogm", "ogm-ge"):
        with pytest.raises(UserError, match="no gradient to scale for 'audio'"):
            balanced(net, method).backward(net(x), y)


class Joined(nn.Linear):
    """A head on features that are joined in the other order, or changed on their way."""

    def __init__(self, change: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__(8, 3, dtype=torch.float64)
        self.change = change

    def logits(self, features: dict[str, Tensor]) -> Tensor:
        return self(self.change(*features.values()))


CHANGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "the other order": lambda a, v: torch.cat([v, a], -1),
    "dropout between": lambda a, v: F.dropout(torch.cat([a, v], -1), 0.5),
}


@pytest.mark.parametrize("change", CHANGES)
def test_shares_that_do_not_sum_to_the_logits_are_refused(change: str) -> None:
    net, (x, y), head = Net(), data(), Joined(CHANGES[change])
    for method in ("ogm", "agm"):
        with pytest.raises(UserError, match="in the order in which `encoders` names them"):
            Balancer(method, net.e, head).backward(head.logits(net.features(x)), y)  # type: ignore[arg-type]
    Balancer("joint", net.e, head).backward(head.logits(net.features(x)), y)  # type: ignore[arg-type]


def test_encoders_that_cannot_be_told_apart_or_give_several_things_are_named() -> None:
    one, head = nn.Linear(5, 4).double(), nn.Linear(8, 3).double()
    with pytest.raises(UserError, match="'audio' and 'video' have one encoder"):
        Balancer("joint", dict.fromkeys(NAMES, one), head)
    encoders = {m: Several() for m in NAMES}
    Balancer("joint", encoders, head)
    with pytest.raises(UserError, match="the encoder of 'audio' gives a tuple, not one tensor"):
        encoders["audio"](torch.ones(2, 4).double(), torch.ones(2, 4).double())
