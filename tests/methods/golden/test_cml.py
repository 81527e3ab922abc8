"""CML: the loss of nested sets by plain loops, the order of removal, and what does not count."""

import math
from itertools import pairwise, permutations

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, whole_batch
from mcr_bench.datasets.base import Batch, Inputs
from mcr_bench.methods.cml import Cml
from mcr_bench.methods.terms.games.confidence import rises


def probabilities(row: list[float]) -> list[float]:
    total = sum(math.exp(x) for x in row)
    return [math.exp(x) / total for x in row]


def sets_of(fit: Fit, batch: Batch, order: dict[str, Tensor]) -> list[list[list[float]]]:
    """Logits by set, sample and class: the sum of the linear layers of the modalities that are left, and the bias."""
    model, sets = fit.model, []
    features = {m: model.encode_one(m, batch.inputs.values[m]) for m in model.modalities}
    for k in range(len(order)):
        rows = []
        for i in range(len(batch.target)):
            left = [features[m][i] @ model.fusion.slices[m].weight.T for m, at in order.items() if at[i] >= k]
            rows.append((torch.stack(left).sum(0) + model.fusion.bias).tolist())
        sets.append(rows)
    return sets


def plain(sets: list[list[list[float]]], target: list[int], margin: float, over: str) -> tuple[float, float]:
    """The mean cross-entropy over sets and samples, and the rises, by loops."""
    entropy = rise = 0.0
    for i, y in enumerate(target):
        p = [probabilities(z[i]) for z in sets]
        entropy -= sum(math.log(one[y]) for one in p) / len(p) / len(target)
        for larger, smaller in pairwise(p):
            if larger.index(max(larger)) == y:
                rise += max(0.0, max(smaller) - max(larger) - margin)
    return entropy, rise if over == "sum" else rise / len(target)


@pytest.mark.parametrize("over", ["sum", "mean"])
@pytest.mark.parametrize(("count", "classes", "margin"), [(2, 3, 0.0), (3, 4, 0.02), (4, 3, 0.0)])
def test_the_loss_is_that_of_plain_loops(count: int, classes: int, margin: float, over: str) -> None:
    method = Cml(weight=0.7, margin=margin, over_samples=over)
    fit = make_fit(method, NAMES[:count], Task(classes), dtype=torch.float64)
    batch = whole_batch(fit)
    entropy, rise = plain(sets_of(fit, batch, method.order(batch)), batch.target.tolist(), margin, over)
    assert rise > 0
    terms = method.loss(method.forward(batch), batch)
    assert terms["nested"].item() == pytest.approx(entropy, rel=1e-9)
    assert terms["rise"].item() == pytest.approx(0.7 * rise, rel=1e-9)


def test_the_gradient_is_that_of_finite_differences() -> None:
    logits = 2 * torch.randn(3, 16, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    target = logits[0].argmax(-1)
    target[:2] = (target[:2] + 1) % 4
    assert rises(logits, target).count_nonzero() >= 3
    logits.requires_grad_()
    torch.autograd.gradcheck(lambda z: rises(z, target, 0.01).sum(), (logits,))


def test_rises_by_hand() -> None:
    # p = (.9, .1) right, then (.95, .05): .05; then (.2, .8), and from wrong to right nothing.
    sets = torch.tensor([[[0.9, 0.1]], [[0.95, 0.05]], [[0.02, 0.98]], [[0.999, 0.001]]]).log()
    assert rises(sets, torch.tensor([0]))[:, 0].tolist() == pytest.approx([0.05, 0.03, 0.0], abs=1e-6)
    assert rises(sets, torch.tensor([0]), margin=0.04)[:, 0].tolist() == pytest.approx([0.01, 0.0, 0.0], abs=1e-6)


def test_each_sample_has_an_order_of_its_own_drawn_anew_and_all_come() -> None:
    method = Cml()
    fit = make_fit(method, NAMES[:3])
    batch, seen, last = whole_batch(fit), set(), None
    for number in range(1, 9):
        fit.step = number
        order = torch.stack(list(method.order(batch).values()), 1)
        assert order.sort(1).values.tolist() == [[0, 1, 2]] * len(batch.target)
        assert last is None or not torch.equal(order, last)
        seen, last = seen | {tuple(row) for row in order.tolist()}, order
    assert seen == set(permutations(range(3)))


def test_what_a_sample_lacks_is_removed_first_and_counts_once() -> None:
    method = Cml(weight=0.3)
    fit = make_fit(method, NAMES[:3], dtype=torch.float64)
    whole = whole_batch(fit)
    has = torch.arange(len(whole.target)) % 3 > 0
    batch = Batch(Inputs(whole.inputs.values, present={"audio": has}), whole.target, whole.index)
    order = method.order(batch)
    assert (order["audio"][~has] == 0).all()
    sets, entropy, rise, number = sets_of(fit, batch, order), 0.0, 0.0, 0
    for i, y in enumerate(batch.target.tolist()):
        kept = [0, 1, 2] if has[i] else [0, 2]
        p = [probabilities(sets[k][i]) for k in kept]
        entropy -= sum(math.log(one[y]) for one in p)
        number += len(p)
        pairs = [(0, 1), (1, 2)] if has[i] else [(1, 2)]
        q = [probabilities(z[i]) for z in sets]
        rise += sum(max(0.0, max(q[b]) - max(q[a])) for a, b in pairs if q[a].index(max(q[a])) == y)
    terms = method.loss(method.forward(batch), batch)
    assert terms["nested"].item() == pytest.approx(entropy / number, rel=1e-9)
    assert terms["rise"].item() == pytest.approx(0.3 * rise, rel=1e-9)


@pytest.mark.parametrize("fusion", ["concat-mlp", "gated"])
def test_other_fusion_heads_are_asked_with_zeros(fusion: str) -> None:
    method = Cml()
    fit = make_fit(method, fusion=fusion, dtype=torch.float64)
    batch = whole_batch(fit)
    outputs, order = method.forward(batch), method.order(batch)
    kept = {m: torch.where((at < 1)[:, None], 0.0, outputs.features[m]) for m, at in order.items()}
    torch.testing.assert_close(method.nested(outputs, order)[1], fit.model.fuse(kept).logits)
    step(method)
    assert fit.step == 1
