"""QMF: confidences, ranking and the whole loss by plain loops over several steps, and what a sample lacks."""

import math

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, whole_batch
from mcr_bench.datasets.base import Batch, Inputs
from mcr_bench.methods.qmf import Qmf, confidences, ranking

Rows = list[list[float]]


def entropy(row: list[float], y: int) -> float:
    return math.log(sum(math.exp(x) for x in row)) - row[y]


def confidence(row: list[float]) -> float:
    return math.log(sum(math.exp(x) for x in row)) / 10


class History:
    """The losses of every sample, as lists."""

    def __init__(self, count: int) -> None:
        self.losses: list[list[float]] = [[] for _ in range(count)]

    def difficulties(self, index: list[int]) -> list[float]:
        means = [sum(x) / len(x) for x in self.losses if x]
        width = max(means) - min(means)
        return [(sum(self.losses[i]) / len(self.losses[i]) - min(means)) / width if width else 0.0 for i in index]


def plain_ranking(c: list[float], d: list[float]) -> float:
    total = 0.0
    for i in range(len(c)):
        j = (i + 1) % len(c)
        sign = (d[i] > d[j]) - (d[i] < d[j])
        total += max(0.0, sign * (c[i] - c[j]) + abs(d[i] - d[j]))
    return total / len(c)


def plain_loss(logits: list[Rows], target: list[int], index: list[int], histories: list[History]) -> float:
    rows, total = range(len(target)), 0.0
    c = [[confidence(row) for row in one] for one in logits]
    fused = [
        [sum(c[m][i] * logits[m][i][k] for m in range(len(logits))) for k in range(len(logits[0][0]))] for i in rows
    ]
    for one in [fused, *logits]:
        total += sum(entropy(one[i], target[i]) for i in rows) / len(target)
    for m, history in enumerate(histories):
        for i in rows:
            history.losses[index[i]].append(entropy(logits[m][i], target[i]))
        total += plain_ranking(c[m], history.difficulties(index))
    return total


@pytest.mark.parametrize(("count", "classes"), [(2, 3), (3, 5), (4, 3)])
def test_the_loss_of_several_steps_is_that_of_plain_loops(count: int, classes: int) -> None:
    method = Qmf()
    fit = make_fit(method, NAMES[:count], Task(classes), dtype=torch.float64, optimizer__lr=0.05)
    histories = [History(24) for _ in range(count)]
    for index in ([0, 1, 2, 3, 4], [5, 6, 7], [3, 1, 9, 20, 7, 0], [23, 3]):
        batch = fit.train.batch(torch.tensor(index))
        outputs = method.forward(batch)
        logits = [z.tolist() for z in outputs.own_logits.values()]
        terms = method.loss(outputs, batch)
        want = plain_loss(logits, batch.target.tolist(), index, histories)
        assert torch.stack(list(terms.values())).sum().item() == pytest.approx(want, rel=1e-9)
        assert set(terms) == {"fused", *(f"{k}/{m}" for k in ("own", "rank") for m in NAMES[:count])}
        fit.optimizer.zero_grad()
        method.backward(terms)
        fit.optimizer.step()


def test_a_resumed_run_knows_the_losses() -> None:
    method, other = Qmf(), Qmf()
    fit = make_fit(method)
    make_fit(other)
    assert other.state_dict() == {}
    step(method)
    other.load_state_dict(method.state_dict())
    step(method)
    batch = whole_batch(fit)
    losses = torch.rand(2, 24, generator=torch.Generator().manual_seed(0))
    with pytest.raises(AssertionError):
        torch.testing.assert_close(other.difficulty(losses, batch.index), method.difficulty(losses, batch.index))
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.difficulty(losses, batch.index), method.difficulty(losses, batch.index))


def test_the_fused_logits_give_no_gradient_to_the_confidences() -> None:
    method = Qmf()
    fit = make_fit(method, dtype=torch.float64)
    batch = whole_batch(fit)
    outputs = method.forward(batch)
    own, at = list(outputs.own_logits.values()), list(fit.model.own_heads.parameters())
    weights = [z.detach().exp().sum(1, keepdim=True).log() / 10 for z in own]
    total = torch.stack([w * z for w, z in zip(weights, own, strict=True)]).sum(0)
    mine, theirs = (torch.autograd.grad(z.square().sum(), at, retain_graph=True) for z in (outputs.logits, total))
    torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(method.predict(fit.model, batch.inputs).logits, outputs.logits)


def test_the_gradient_of_the_ranking_is_that_of_finite_differences() -> None:
    draws = torch.Generator().manual_seed(3)
    c, d = (torch.rand(2, 9, generator=draws, dtype=torch.float64) for _ in range(2))
    assert 4 < torch.autograd.grad(ranking(x := c.clone().requires_grad_(), d).sum(), x)[0].count_nonzero() <= 18
    torch.autograd.gradcheck(lambda x: ranking(x, d), (c.requires_grad_(),))


def test_equal_difficulties_and_a_single_sample_have_no_order() -> None:
    assert ranking(torch.tensor([[0.3, 0.9, 0.1]]), torch.full((1, 3), 0.5)).tolist() == [0.0]
    assert ranking(torch.tensor([[0.3]]), torch.tensor([[0.7]])).tolist() == [0.0]


@pytest.mark.parametrize("size", [30.0, 1e4])
def test_confidences_of_large_logits_are_finite(size: float) -> None:
    assert confidences(torch.tensor([size, 0.0])).item() == pytest.approx(size / 10, rel=1e-6)


def test_what_a_sample_lacks_counts_nowhere() -> None:
    method = Qmf(weight=0.5)
    fit = make_fit(method, NAMES[:2], dtype=torch.float64)
    whole = whole_batch(fit)
    has = torch.arange(24) % 4 > 0
    batch = Batch(Inputs(whole.inputs.values, present={"audio": has}), whole.target, whole.index)
    outputs = method.forward(batch)
    audio, video = outputs.own_logits.values()
    weights: list[Tensor] = [confidences(z.detach()) for z in (audio, video)]
    lone = weights[1][:, None] * video
    fused = torch.where(has[:, None], weights[0][:, None] * audio + lone, lone)
    torch.testing.assert_close(outputs.logits, fused, rtol=1e-10, atol=1e-12)
    history = History(24)
    for i, y in enumerate(batch.target.tolist()):
        if has[i]:
            history.losses[i].append(entropy(audio[i].tolist(), y))
    kept = [i for i in range(24) if has[i] and has[(i + 1) % 24]]
    d = dict(zip((h := has.nonzero()[:, 0].tolist()), history.difficulties(h), strict=True))
    c = {i: confidence(audio[i].tolist()) for i in h}
    want = sum(
        max(0.0, ((d[i] > d[i + 1]) - (d[i] < d[i + 1])) * (c[i] - c[i + 1]) + abs(d[i] - d[i + 1])) for i in kept
    )
    assert method.loss(outputs, batch)["rank/audio"].item() == pytest.approx(0.5 * want / len(kept), rel=1e-9)
