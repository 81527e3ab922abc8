"""IPRM: mixing on the sphere by geometry, whole steps with their probes in plain torch, and what is predicted."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, whole_batch
from mcr_bench.bench.testing.trials.epochs import batches, begin_epoch, make_step, step, train
from mcr_bench.methods.iprm import Iprm, divergences, slerp

PAIR = NAMES[:2]
State = dict[str, Tensor]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.9, 1.0])
def test_a_mix_lies_on_the_geodesic(share: float) -> None:
    """It has norm 1, and its angles to the two features are in the ratio of the other's share to its own."""
    features = drawn(2, 6, 5)
    mix = slerp(features, torch.tensor([share, 1 - share], dtype=torch.float64))
    units = features / features.norm(dim=2, keepdim=True)
    whole = (units[0] * units[1]).sum(1).acos()
    torch.testing.assert_close(mix.norm(dim=1), torch.ones(6, dtype=torch.float64))
    for unit, rest in ((units[0], 1 - share), (units[1], share)):
        torch.testing.assert_close((mix * unit).sum(1).clamp(-1, 1).acos(), rest * whole, atol=1e-6, rtol=1e-6)


def test_a_mix_of_known_features() -> None:
    """At a right angle with shares 1/3 and 2/3: sin(30) and sin(60) degrees."""
    features = torch.tensor([[[2.0, 0.0]], [[0.0, 5.0]]], dtype=torch.float64)
    mix = slerp(features, torch.tensor([1 / 3, 2 / 3], dtype=torch.float64))
    assert mix[0].tolist() == pytest.approx([0.5, math.sqrt(3) / 2])


@pytest.mark.parametrize("second", [1.0, -1.0, 0.0])
def test_equal_opposite_and_missing_directions_have_finite_gradients(second: float) -> None:
    first = torch.tensor([[1.0, 2.0, -1.0]])
    features = torch.stack([first, second * first]).requires_grad_()
    slerp(features, torch.tensor([0.3, 0.7])).sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()
    if second == 1.0:
        torch.testing.assert_close(slerp(features, torch.tensor([0.3, 0.7])), first / first.norm(), atol=1e-5, rtol=0)


def test_divergences_of_known_distributions() -> None:
    own = torch.tensor([[[math.log(3), 0.0]] * 2, [[0.0, 0.0]] * 2], dtype=torch.float64)
    mixed = torch.tensor([[0.0, 0.0], [0.0, math.log(3)]], dtype=torch.float64)
    kl = [
        [0.75 * math.log(1.5) + 0.25 * math.log(0.5), 0.5 * math.log(3)],
        [0.0, 0.5 * math.log(2) + 0.5 * math.log(2 / 3)],
    ]
    assert divergences(own, mixed).tolist() == pytest.approx([sum(row) / 2 for row in kl])
    assert divergences(own, mixed, torch.tensor([False, True])).tolist() == pytest.approx([row[1] for row in kl])


def sphere(a: Tensor, b: Tensor, t: float, s: float) -> Tensor:
    u, v = a / a.pow(2).sum(1, keepdim=True).sqrt(), b / b.pow(2).sum(1, keepdim=True).sqrt()
    w = torch.acos((u * v).sum(1, keepdim=True))
    return torch.sin(t * w) / torch.sin(w) * u + torch.sin(s * w) / torch.sin(w) * v


def kl(p: Tensor, q: Tensor) -> float:
    p, q = p.detach().log_softmax(1), q.detach().log_softmax(1)
    return float((p.exp() * (p - q)).sum(1).mean())


def linear(state: State, name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


@pytest.mark.parametrize("momentum", [0.8, 0.0])
def test_steps_with_their_probes(momentum: float) -> None:
    """Gradients and shares of the steps of two epochs; the shares sum to 1."""
    method = Iprm(momentum=momentum)
    options = {"optimizer__name": "sgd", "optimizer__lr": 0.05, "clip_norm": 0.0}
    fit = make_fit(method, PAIR, dtype=torch.float64, seed=3, batch_size=10, **options)
    t, s = [0.5, 0.5], [0.5, 0.5]
    for _ in range(2):
        begin_epoch(method)
        for batch in batches(method):
            weights = {name: p.detach().clone().requires_grad_() for name, p in fit.model.named_parameters()}
            a, b = (
                torch.func.functional_call(
                    fit.model.encoders[m],
                    {k.removeprefix(f"encoders.{m}."): v for k, v in weights.items() if k.startswith(f"encoders.{m}.")},
                    (batch.inputs.values[m], None),
                )
                for m in PAIR
            )
            own = [linear(weights, f"own_heads.{m}", f) for m, f in zip(PAIR, (a, b), strict=True)]
            t = [momentum * x + (1 - momentum) * y for x, y in zip(t, s, strict=True)]
            probe = linear(weights, "fusion.head", sphere(a, b, *t))
            k = [kl(z, probe) for z in own]
            s = [k[1] / sum(k), k[0] / sum(k)]
            mixed, rows = linear(weights, "fusion.head", sphere(a, b, *s)), torch.arange(len(batch.target))
            loss = sum(-z.log_softmax(1)[rows, batch.target].mean() for z in (mixed, *own))
            wanted = dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))  # type: ignore[arg-type]
            make_step(method, batch)
            for name, p in fit.model.named_parameters():
                torch.testing.assert_close(p.grad, wanted[name], rtol=1e-7, atol=1e-10)
            shown = fit.meters.means()
            assert [shown[f"coefficient/{m}"] for m in PAIR] == pytest.approx(s)
    state = fit.model.state_dict()
    assert [state[f"fusion.share_{m}"].item() for m in PAIR] == pytest.approx(t)
    assert [state[f"fusion.probed_{m}"].item() for m in PAIR] == pytest.approx(s)
    assert sum(t) == pytest.approx(1)
    assert abs(t[0] - 0.5) > 1e-3


def test_a_prediction_is_the_sum_of_three() -> None:
    method = Iprm()
    fit = make_fit(method, PAIR, dtype=torch.float64, batch_size=8, optimizer__lr=0.05)
    train(method, 3)
    fit.model.eval()
    inputs = whole_batch(fit).inputs
    with torch.no_grad():
        outputs, state = method.predict(fit.model, inputs), fit.model.state_dict()
    a, b = (outputs.features[m] for m in PAIR)
    mix = linear(state, "fusion.head", sphere(a, b, *(state[f"fusion.share_{m}"].item() for m in PAIR)))
    own = [linear(state, f"own_heads.{m}", outputs.features[m]) for m in PAIR]
    torch.testing.assert_close(outputs.logits, mix + own[0] + own[1])
    lacking = replace(inputs, present={"audio": torch.arange(24) > 3})
    with torch.no_grad():
        partly = method.predict(fit.model, lacking).logits
    torch.testing.assert_close(partly[4:], outputs.logits[4:])
    unit = b / b.norm(dim=1, keepdim=True)
    torch.testing.assert_close(partly[:4], (linear(state, "fusion.head", unit) + own[1])[:4])


def test_samples_that_lack_a_modality_do_not_move_the_shares() -> None:
    """The probe of a batch in which some lack one is that of the samples that have both."""
    methods = [Iprm(), Iprm()]
    fits = [make_fit(method, PAIR, dtype=torch.float64) for method in methods]
    batch = whole_batch(fits[0])
    has = torch.arange(24) % 3 > 0
    step(methods[0], replace(batch, inputs=replace(batch.inputs, present={"video": has})))
    step(methods[1], fits[1].train.batch(torch.arange(24)[has]))
    shares = [fit.model.state_dict()["fusion.probed_audio"] for fit in fits]
    torch.testing.assert_close(*shares)
    nobody = {"video": torch.zeros(24, dtype=torch.bool)}
    step(methods[0], replace(batch, inputs=replace(batch.inputs, present=nobody)))
    state = fits[0].model.state_dict()
    assert state["fusion.probed_audio"] == state["fusion.share_audio"], "nothing is known, so the probe's stays"


def test_what_it_is_not_defined_for_is_refused_with_the_reason() -> None:
    assert "at most 2" in str(Iprm.needs.unmet(3, Task(2)))
    assert "classification" in str(Iprm.needs.unmet(2, Task(None)))
