"""MNL: the guidance term sample by sample in plain Python, its gradient, and who is guided."""

import math

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, whole_batch
from mcr_bench.datasets.base import Batch, Inputs
from mcr_bench.methods.mnl import Mnl, negative_learning


def probabilities(row: list[float]) -> list[float]:
    total = sum(math.exp(x) for x in row)
    return [math.exp(x) / total for x in row]


def plain(
    logits: list[list[list[float]]], target: list[int], negative: float, fused: list[list[float]] | None
) -> float:
    """The sum over samples and guided modalities, by loops."""
    total = 0.0
    for i, y in enumerate(target):
        p = [probabilities(z[i]) for z in logits]
        others = [c for c in range(len(p[0])) if c != y]
        if fused is None:
            margins = [one[y] - max(one[c] for c in others) for one in p]
        else:
            j = max(others, key=lambda c: fused[i][c])
            margins = [z[i][y] - z[i][j] for z in logits]
        d = max(range(len(p)), key=lambda m: p[m][y])
        for w in range(len(p)):
            if margins[d] > margins[w] and p[d][y] > p[w][y]:
                total -= math.log(p[w][y]) + negative * sum(p[d][c] * math.log(p[w][c]) for c in others)
    return total


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize(("classes", "negative"), [(3, 0.7), (5, 0.2)])
@pytest.mark.parametrize("of_logits", [False, True])
def test_the_term_is_that_of_plain_loops(count: int, classes: int, negative: float, of_logits: bool) -> None:
    draws = torch.Generator().manual_seed(count)
    logits = 2 * torch.randn(count, 9, classes, generator=draws, dtype=torch.float64)
    target, fused = torch.randint(classes, (9,), generator=draws), logits.mean(0) if of_logits else None
    expected = plain(logits.tolist(), target.tolist(), negative, None if fused is None else fused.tolist())
    assert expected > 0
    assert negative_learning(logits, target, negative, fused).sum().item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("classes", [3, 6])
def test_weight_one_over_c_and_logit_margins_are_the_released_rule(classes: int) -> None:
    """As the code has it: two masks, products of labels and probabilities, and a mean over samples and classes."""
    method = Mnl(weight=1 / classes, margin="logit")
    fit = make_fit(method, task=Task(classes), dtype=torch.float64)
    batch = whole_batch(fit)
    outputs = method.forward(batch)
    rows, y, label = torch.arange(24), batch.target, torch.eye(classes, dtype=torch.float64)[batch.target]
    rival = (outputs.logits.softmax(1) - 2 * label).argmax(1)
    own = list(outputs.own_logits.values())
    margin, true = [z[rows, y] - z[rows, rival] for z in own], [z.softmax(1)[rows, y] for z in own]
    total = torch.zeros((), dtype=torch.float64)
    for d, w in ((0, 1), (1, 0)):
        mask = ((margin[d] > margin[w]) & (true[d] > true[w])).double()[:, None]
        wrong = 0.7 * (1 - label) * own[d].detach().softmax(1)
        total = total - ((label + wrong) * own[w].log_softmax(1) * mask).mean()
    guidance = method.loss(outputs, batch)["guidance"]
    torch.testing.assert_close(guidance, total, rtol=1e-10, atol=1e-14)
    parameters = list(fit.model.own_heads.parameters())
    mine, theirs = (torch.autograd.grad(x, parameters, retain_graph=True) for x in (guidance, total))
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-14)


def test_the_guide_gets_no_gradient_and_the_guided_one_that_of_finite_differences() -> None:
    draws = torch.Generator().manual_seed(5)
    logits = torch.randn(2, 6, 4, generator=draws, dtype=torch.float64, requires_grad=True)
    target = torch.randint(4, (6,), generator=draws)
    negative_learning(logits, target, 0.7).sum().backward()
    assert logits.grad is not None
    guided = logits.grad.abs().sum(-1) > 0
    assert guided.any()
    assert not (guided[0] & guided[1]).any()
    start, (m, i) = logits.detach(), guided.nonzero()[0].tolist()
    for c in range(4):
        step = torch.zeros_like(start)
        step[m, i, c] = 1e-6
        values = [negative_learning(start + sign * step, target, 0.7).sum() for sign in (1, -1)]
        assert logits.grad[m, i, c].item() == pytest.approx((values[0] - values[1]).item() / 2e-6, rel=1e-5, abs=1e-8)


def test_nobody_is_guided_where_margin_and_probability_disagree() -> None:
    # p = (.5, .49, .01) has the larger p(y), q = (.45, .3, .25) the larger margin.
    logits = torch.tensor([[[0.5, 0.49, 0.01]], [[0.45, 0.3, 0.25]]]).log()
    assert negative_learning(logits, torch.tensor([0]), 0.7).tolist() == [0.0]
    assert negative_learning(logits, torch.tensor([2]), 0.7).item() > 0
    assert negative_learning(logits[:1].expand(2, 1, 3), torch.tensor([0]), 0.7).tolist() == [0.0]


def test_the_loss_is_multi_loss_and_the_mean_of_the_term() -> None:
    for count in (2, 3):
        method = Mnl(weight=0.3)
        fit = make_fit(method, NAMES[:count], Task(4), dtype=torch.float64)
        batch = whole_batch(fit)
        outputs = method.forward(batch)
        terms = method.loss(outputs, batch)
        own = [z.tolist() for z in outputs.own_logits.values()]
        expected = 0.3 * plain(own, batch.target.tolist(), 0.7, None) / len(batch.target)
        assert terms["guidance"].item() == pytest.approx(expected, rel=1e-9)
        assert set(terms) == {"fused", "guidance", *(f"own/{m}" for m in NAMES[:count])}


def test_an_absent_modality_neither_guides_nor_is_guided() -> None:
    method = Mnl()
    fit = make_fit(method, NAMES[:3], dtype=torch.float64)
    whole = whole_batch(fit)
    has = torch.arange(len(whole.target)) % 3 > 0
    batch = Batch(Inputs(whole.inputs.values, present={"audio": has}), whole.target, whole.index)
    outputs = method.forward(batch)

    def sums(rows: Tensor, names: tuple[str, ...]) -> float:
        return plain([outputs.own_logits[m][rows].tolist() for m in names], batch.target[rows].tolist(), 0.7, None)

    expected = sums(has, NAMES[:3]) + sums(~has, NAMES[1:3])
    assert method.loss(outputs, batch)["guidance"].item() == pytest.approx(expected / len(has), rel=1e-9)
