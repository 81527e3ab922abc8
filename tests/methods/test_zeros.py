"""Features of zeros: joined to the training pass, replayed, or passed on their own, they are the same."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.core import device as devices
from mcr_bench.bench.core.seeds import initialise
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.models.build import made
from mcr_bench.bench.models.declared import Encoder
from mcr_bench.bench.models.kinds import encoder_kinds
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.testing.fits import NAMES, make_fit, step
from mcr_bench.methods.agm import Agm
from mcr_bench.methods.terms import zeros
from mcr_bench.methods.terms.zeros import encode_with_zeros, steady

SHAPES = [(5,), (7, 3), (3, 16, 16), (2, 3, 16, 16)]


def encoders(shape: tuple[int, ...]) -> list[nn.Module]:
    """The encoders that are drawn at random and take samples of this shape."""
    kinds = [k for k in encoder_kinds().values() if k.fits(Modality(shape)) and "weights" not in k.settings]
    nets = [made(Encoder(kind, {"width": 4, "depth": 2, "dropout": 0.0}), Modality(shape), 6) for kind in kinds]
    for net in nets:
        initialise(net, 0)
    return nets


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_called_steady_is_the_same_in_both_modes_whatever_is_beside_it(shape: tuple[int, ...]) -> None:
    several = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    tried = 0
    for net in filter(steady, encoders(shape)):
        tried += 1
        alone, together = net.eval()(several[:1], None), net.train()(several, None)[:1]
        torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)
    assert tried or len(shape) > 1  # vectors have one; batch norm and dropout are in most of the others


class Own(nn.Module):
    """A user's encoder, of which nothing is known."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 6)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.layer(values) * (2 if self.training else 1)


@pytest.mark.parametrize("net", [nn.Dropout(), nn.BatchNorm1d(2), nn.LSTM(2, 2), nn.MultiheadAttention(4, 2), Own()])
def test_in_doubt_a_module_is_not_steady(net: nn.Module) -> None:
    assert not steady(nn.Sequential(nn.Linear(2, 2), net))


def joined_and_apart(gradient: bool) -> list[tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]]:
    """Features, those of zeros, and gradients of a sum of both: of joined passes, and of passes on their own."""
    results = []
    for joined in (frozenset(NAMES[:3]), frozenset[str]()):
        fit = make_fit(Agm(), NAMES[:3], dtype=torch.float64)
        inputs = fit.train.batch(torch.arange(9)).inputs
        features, absent = encode_with_zeros(fit.model, inputs, gradient, joined)
        sum(f.square().sum() + 3 * absent[m].square().sum() for m, f in features.items()).backward()
        own = {name: p.grad for name, p in fit.model.encoders.named_parameters()}
        results.append((features, absent, own))
    return results


@pytest.mark.parametrize("gradient", [True, False])
def test_zeros_in_the_training_pass_are_those_of_a_pass_of_their_own(gradient: bool) -> None:
    one, other = joined_and_apart(gradient)
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=1e-9, atol=1e-12)
    assert all(f.requires_grad == gradient for f in one[1].values())


class Norm(nn.Module):
    """An encoder with batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(5, 6), nn.BatchNorm1d(6)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.norm(self.linear(values))


def trained(graph: Callable[..., object] | None, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Tensor], Any]:
    """The weights after two steps of AGM, and its passes; `graph` takes the place of that of a GPU."""
    method = Agm()
    fit = make_fit(method, dtype=torch.float64)
    for place, m in enumerate(fit.model.modalities):
        torch.manual_seed(place)
        fit.model.encoders[m] = Norm().double()
    fit.optimizer.add_param_group({"params": list(fit.model.encoders.parameters()), "base_lr": 1e-3})
    if graph is not None:
        with monkeypatch.context() as patch:
            patch.setattr(devices, "graphed", graph)
            patch.setattr(zeros, "ON_GPU", ("cpu",))
            method.on_fit_start()
    with fit.meters.watching(fit.model, len(fit.train)):
        step(method)
    means = fit.meters.means()
    step(method)
    return fit.model.state_dict(), {k: v for k, v in means.items() if k.startswith("encoder_passes")}


def test_a_graph_takes_the_place_of_passes_and_is_counted_as_them(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def graphed(module: nn.Module, _zeros: tuple[Tensor, ...]) -> Callable[..., tuple[Tensor, ...]]:
        def replay(*given: Tensor) -> tuple[Tensor, ...]:  # without the hooks of encoders, as on a GPU
            calls.append(len(given))
            return tuple(part.forward(x) for part, x in zip(module.parts, given, strict=True))

        return replay

    (plain, passes), (replayed, counted) = trained(None, monkeypatch), trained(graphed, monkeypatch)
    assert calls == [2, 2, 2]  # once to compare it, then in every step
    assert counted == passes
    assert all(torch.equal(plain[name], replayed[name]) for name in plain)


Replay = Callable[..., tuple[Tensor, ...]]


def fails(_module: nn.Module, _zeros: tuple[Tensor, ...]) -> Replay:
    """A device on which no graph can be made."""
    raise RuntimeError("operation not permitted when stream is capturing")


def wrong(module: nn.Module, _zeros: tuple[Tensor, ...]) -> Replay:
    """A graph whose features are not those of the passes."""
    return lambda *given: tuple(1.1 * f for f in module(*given))


@pytest.mark.parametrize(("graph", "words"), [(fails, "no CUDA graph"), (wrong, "is off by")])
def test_a_graph_that_fails_or_differs_is_told_and_not_used(
    graph: Callable[..., Replay], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, passes = trained(None, monkeypatch)
    with pytest.warns(UserWarning, match=words):
        other, counted = trained(graph, monkeypatch)
    assert counted == passes
    assert all(torch.equal(plain[name], other[name]) for name in plain)


def test_there_is_no_graph_on_a_cpu() -> None:
    fit: Fit = make_fit(Agm())
    assert zeros.zero_graph(fit, fit.model.modalities) is None


def test_replays_give_gradients_to_the_parameters_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is captured computes with aliases of the parameters; a pretended capture replays it as it is."""
    seen: list[int] = []

    class Capture:
        """What `graphed` asks of torch.cuda."""

        @staticmethod
        def make_graphed_callables(function: Callable[..., Any], given: tuple[Tensor, ...], **_: Any) -> Any:
            seen.append(len(given))
            return function

        @staticmethod
        def set_sync_debug_mode(_mode: str) -> None:
            """The CPU never waits."""

    monkeypatch.setattr(devices.torch, "cuda", Capture)
    monkeypatch.setattr(devices.torch, "autocast", lambda *_: nullcontext())
    module = zeros.ZeroPass({"a": Own(), "b": Norm().eval()})
    given_zeros = (torch.ones(1, 5), torch.ones(1, 5))
    module.parts.eval()
    plain = module(*given_zeros)
    expected = torch.autograd.grad(sum(f.sum() for f in plain), list(module.parameters()))
    replayed = devices.graphed(module, given_zeros)(*given_zeros)
    given = torch.autograd.grad(sum(f.sum() for f in replayed), list(module.parameters()))
    assert seen == [2 + len(expected)]
    assert all(torch.equal(a, b) for a, b in zip((*plain, *expected), (*replayed, *given), strict=True))
