"""MBSD: leads, closeness and guidance sample by sample in plain Python, and where their gradients go."""

import math

import pytest
import torch

from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, whole_batch
from mcr_bench.datasets.base import Batch, Inputs
from mcr_bench.methods.mbsd import Mbsd
from mcr_bench.methods.terms.distillation.leads import guidance, leads
from mcr_bench.tests.methods.golden.test_mnl import probabilities

Rows = list[list[float]]


def plain(one: Rows, other: Rows, target: list[int]) -> tuple[float, float]:
    """The sums over samples of lead times closeness, and of lead times guidance."""
    closeness = taught = 0.0
    for a, b, y in zip(one, other, target, strict=True):
        ahead, behind = sorted((probabilities(a), probabilities(b)), key=lambda p: p[y], reverse=True)
        if max(ahead) != ahead[y] and max(behind) != behind[y]:
            continue
        lead = ahead[y] - behind[y]
        closeness += lead * sum((x - z) ** 2 for x, z in zip(a, b, strict=True)) / len(a)
        taught += lead * sum(p * math.log(p / q) for p, q in zip(ahead, behind, strict=True))
    return closeness, taught


@pytest.mark.parametrize("names", [NAMES[:2], ("pulse", "depth")])
@pytest.mark.parametrize("classes", [2, 5])
def test_the_loss_is_that_of_plain_loops(classes: int, names: tuple[str, ...]) -> None:
    method = Mbsd(weight=0.7)
    fit = make_fit(method, names, Task(classes), dtype=torch.float64)
    batch = whole_batch(fit)
    outputs = method.forward(batch)
    terms = method.loss(outputs, batch)
    one, other = (outputs.own_logits[m].tolist() for m in fit.model.modalities)
    closeness, taught = plain(one, other, batch.target.tolist())
    assert closeness > 0
    assert terms["closeness"].item() == pytest.approx(0.7 * closeness / 24, rel=1e-9)
    assert terms["guidance"].item() == pytest.approx(0.7 * taught / 24, rel=1e-9)
    assert set(terms) == {"fused", "closeness", "guidance", *(f"own/{m}" for m in names)}


def test_the_lead_by_hand() -> None:
    p = torch.tensor([[[0.7, 0.2, 0.1], [0.2, 0.5, 0.3]], [[0.3, 0.4, 0.3], [0.1, 0.6, 0.3]]])
    assert leads(p.log(), torch.tensor([0, 1])).tolist() == pytest.approx([0.4, 0.1], abs=1e-6)
    assert leads(p.log(), torch.tensor([2, 0])).tolist() == [0.0, 0.0]  # nobody is right


def test_the_guidance_teaches_the_one_behind_alone() -> None:
    draws = torch.Generator().manual_seed(2)
    logits = torch.randn(2, 7, 4, generator=draws, dtype=torch.float64, requires_grad=True)
    target = torch.randint(4, (7,), generator=draws)
    guidance(logits, target, Task(4)).sum().backward()
    assert logits.grad is not None
    p = logits.detach().softmax(-1)
    for i, y in enumerate(target.tolist()):
        ahead = 0 if p[0, i, y] > p[1, i, y] else 1
        assert logits.grad[ahead, i].tolist() == [0.0] * 4
        expected = p[1 - ahead, i] - p[ahead, i]  # the gradient of a divergence in its second argument's logits
        torch.testing.assert_close(logits.grad[1 - ahead, i], expected, rtol=1e-9, atol=1e-12)


def test_the_closeness_draws_both_together_and_the_lead_gets_no_gradient() -> None:
    method = Mbsd()
    fit = make_fit(method, dtype=torch.float64)
    batch = whole_batch(fit)
    outputs = method.forward(batch)
    terms = method.loss(outputs, batch)
    one, other = outputs.own_logits.values()
    lead = leads(torch.stack([one, other]).detach(), batch.target)
    expected = 2 * lead[:, None] * (one - other).detach() / (3 * 24)
    mine = torch.autograd.grad(terms["closeness"], [one, other], retain_graph=True)
    torch.testing.assert_close(mine, (expected, -expected), rtol=1e-9, atol=1e-12)


def test_a_sample_that_lacks_a_modality_has_no_lead() -> None:
    method = Mbsd()
    fit = make_fit(method, dtype=torch.float64)
    whole = whole_batch(fit)
    has = torch.arange(24) % 3 > 0
    batch = Batch(Inputs(whole.inputs.values, present={"video": has}), whole.target, whole.index)
    outputs = method.forward(batch)
    one, other = (outputs.own_logits[m][has].tolist() for m in fit.model.modalities)
    closeness, taught = plain(one, other, batch.target[has].tolist())
    terms = method.loss(outputs, batch)
    assert terms["closeness"].item() == pytest.approx(closeness / 24, rel=1e-9)
    assert terms["guidance"].item() == pytest.approx(taught / 24, rel=1e-9)
