"""MBSD's released rule: a divergence of probabilities of the true class, and a weight through which gradients flow."""

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, whole_batch
from mcr_bench.methods.mbsd import Mbsd
from mcr_bench.methods.terms.distillation.leads import released_guidance
from mcr_bench.tests.methods.golden.test_mbsd import plain

Gradients = tuple[Tensor, ...]


def released(logits: list[Tensor], target: Tensor) -> Tensor:
    """The two terms () as they are released: sample by sample, with `kl_div` of scalars that are probabilities."""
    p = [z.softmax(1) for z in logits]
    total = torch.zeros((), dtype=torch.float64)
    for i, y in enumerate(target.tolist()):
        true = [one[i, y] for one in p]
        strong, weak = max(true), min(true)
        right = any(int(one[i].argmax()) == y for one in p)
        weight = strong - weak if right else torch.zeros((), dtype=torch.float64)
        apart = ((logits[0][i] - logits[1][i]) ** 2).sum() / len(p[0][i])
        total = total + weight * apart + weight * torch.nn.functional.kl_div(strong, weak, reduction="none")
    return total / len(target)


def gradients(method: Mbsd, classes: int, names: tuple[str, ...], as_released: bool = False) -> Gradients:
    """Those of the two terms in the weights of encoders and own heads."""
    fit = make_fit(method, names, Task(classes), dtype=torch.float64)
    batch = whole_batch(fit)
    outputs = method.forward(batch)
    terms = method.loss(outputs, batch)
    loss = terms["closeness"] + terms["guidance"]
    if as_released:
        loss = released(list(outputs.own_logits.values()), batch.target)
    parameters = [*fit.model.encoders.parameters(), *fit.model.own_heads.parameters()]
    return torch.autograd.grad(loss, parameters)


def distance(one: Gradients, other: Gradients) -> float:
    a, b = (torch.cat([g.flatten() for g in gs]) for gs in (one, other))
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("names", [NAMES[:2], ("text", "depth")])
@pytest.mark.parametrize("classes", [3, 5])
def test_official_is_the_released_rule_and_paper_is_not(classes: int, names: tuple[str, ...]) -> None:
    rule = gradients(Mbsd(), classes, names, as_released=True)
    assert distance(gradients(Mbsd(variant="official"), classes, names), rule) < 1e-9
    assert distance(gradients(Mbsd(), classes, names), rule) > 1e-3


def require_paper(method: Mbsd) -> None:
    """The golden values of the rule without the defects."""
    fit = make_fit(method, dtype=torch.float64)
    batch = whole_batch(fit)
    outputs = method.forward(batch)
    one, other = (outputs.own_logits[m].tolist() for m in fit.model.modalities)
    expected = plain(one, other, batch.target.tolist())[1] / 24
    assert method.loss(outputs, batch)["guidance"].item() == pytest.approx(expected, rel=1e-9)


def test_the_defect_in_the_paper_s_rule_would_be_seen() -> None:
    require_paper(Mbsd())
    with pytest.raises(AssertionError):
        require_paper(Mbsd(variant="official"))


@pytest.mark.parametrize("gap", [90.0, 200.0, 1e4])
def test_its_slope_is_finite_where_a_probability_underflows(gap: float) -> None:
    """p log p goes to 0 with p, and its slope in a logit too, which is about p log p; so do both at p = e^-gap."""
    logits = torch.tensor([[[gap, 0.0]], [[0.0, gap]]], requires_grad=True)
    value = released_guidance(logits, torch.tensor([0]))
    assert value.item() == pytest.approx(0.0, abs=1e-30)
    (slope,) = torch.autograd.grad(value.sum(), logits)
    torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-30)
