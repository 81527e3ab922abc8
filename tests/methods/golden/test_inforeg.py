"""InfoReg of the paper: traces, gaps and the pull on every encoder, from plain gradients, epoch by epoch."""

import math

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, tiny_split
from mcr_bench.bench.testing.trials.epochs import batches, begin_epoch, end_epoch, make_step
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.inforeg import InfoReg, in_learning_window, pull
from mcr_bench.methods.joint import Joint
from mcr_bench.methods.terms.gradients.proximal import pull_back

SGD = {"optimizer__name": "sgd", "optimizer__lr": 0.3, "batch_size": 8, "dtype": torch.float64, "clip_norm": 0.0}
State = dict[str, Tensor]


def plain_gradients(names: tuple[str, ...], weights: State, batch: Batch) -> State:
    """The gradients of joint training at these weights, by name."""
    fit = make_fit(Joint(), names, **SGD)
    fit.model.load_state_dict(weights)
    fit.task.loss(fit.model(batch.inputs).logits, batch.target).backward()
    return {name: p.grad for name, p in fit.model.named_parameters() if p.grad is not None}


def scores_of(names: tuple[str, ...], weights: State, batch: Batch) -> list[float]:
    """The mean probability of the true class by each share of the logits."""
    fit = make_fit(Joint(), names, **SGD)
    fit.model.load_state_dict(weights)
    scores = []
    for m in names:
        f = fit.model.encoders[m](batch.inputs.values[m], None)
        z = f @ fit.model.fusion.slices[m].weight.T + fit.model.fusion.bias / len(names)
        scores.append(z.softmax(1)[torch.arange(len(z)), batch.target].mean().item())
    return scores


def ahead(scores: list[float], m: int) -> float:
    rest = [s for j, s in enumerate(scores) if j != m]
    return max(0.0, scores[m] - sum(rest) / len(rest))


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("beta", [0.9, 2.0])
def test_every_gradient_of_four_epochs(count: int, beta: float) -> None:
    names = NAMES[:count]
    method = InfoReg(beta=beta, threshold=-100.0)  # the window opens as soon as there are two traces
    fit = make_fit(method, names, **SGD)
    gaps, pulled = [0.0] * count, 0
    for epoch in range(1, 5):
        begin_epoch(method)
        start = {k: v.clone() for k, v in fit.model.state_dict().items()}
        a = [
            math.exp(beta * math.tanh(gaps[m])) if gaps[m] > (sum(gaps) - gaps[m]) / (count - 1) and epoch > 2 else 0.0
            for m in range(count)
        ]
        seen = []
        for batch in batches(method):
            before = {k: v.clone() for k, v in fit.model.state_dict().items()}
            seen.append(scores_of(names, before, batch))
            make_step(method, batch)
            for name, g in plain_gradients(names, before, batch).items():
                room, m = name.split(".")[:2]
                expected = g + a[names.index(m)] * (before[name] - start[name]) if room == "encoders" else g
                grad = fit.model.get_parameter(name).grad
                torch.testing.assert_close(grad, expected, rtol=1e-9, atol=1e-12)
                pulled += not torch.equal(expected, g)
        gaps = [sum(ahead(scores, m) for scores in seen) / len(seen) for m in range(count)]
        end_epoch(method)
    assert pulled


def test_the_window_by_hand() -> None:
    # (3 - 2) / 3 = 0.333, (3 - 2.9) / 3 = 0.0333, (1 - 2) / 1 = -1
    assert in_learning_window([9.0, 2.0, 3.0], 0.33)
    assert not in_learning_window([9.0, 2.0, 3.0], 0.34)
    assert not in_learning_window([2.9, 3.0], 0.04)
    assert not in_learning_window([2.0, 1.0], 0.04)
    assert not in_learning_window([0.0, 0.0], 0.04)
    assert not in_learning_window([5.0], -1.0)


def test_the_pull_by_hand() -> None:
    # exp(0.9 tanh 0.5) = exp(0.9 * 0.46211716) = 1.51569
    found = pull(torch.tensor([0.1, 0.5, 0.2], dtype=torch.float64), 0.9)
    assert found.tolist() == pytest.approx([0.0, 1.5157, 0.0], abs=1e-4)
    assert pull(torch.tensor([0.3, 0.3]), 0.9).tolist() == [0.0, 0.0]


def test_the_trace_is_the_mean_squared_gradient_of_the_encoders() -> None:
    method = InfoReg()
    fit = make_fit(method, **SGD)
    begin_epoch(method)
    expected = dict.fromkeys(NAMES[:2], 0.0)
    for batch in (parts := batches(method)):
        weights = {k: v.clone() for k, v in fit.model.state_dict().items()}
        make_step(method, batch)
        for name, g in plain_gradients(NAMES[:2], weights, batch).items():
            if name.startswith("encoders."):
                expected[name.split(".")[1]] += g.square().sum().item() / len(parts)
    end_epoch(method)
    assert method.state_dict()["traces"] == [pytest.approx(list(expected.values()), rel=1e-9)]


def test_with_the_losses_of_the_shares() -> None:
    fit = make_fit(method := InfoReg(unimodal=True), NAMES[:3], Task(4), **SGD)
    begin_epoch(method)
    batch = batches(method)[0]
    outputs = method.forward(batch)
    terms = method.loss(outputs, batch)
    assert set(terms) == {"fused", *(f"split/{m}" for m in NAMES[:3])}
    for m in NAMES[:3]:
        z = outputs.features[m] @ fit.model.fusion.slices[m].weight.T + fit.model.fusion.bias / 3
        assert terms[f"split/{m}"].item() == pytest.approx(
            -z.log_softmax(1)[torch.arange(len(z)), batch.target].mean().item(), rel=1e-9
        )


@pytest.mark.parametrize("count", [2, 3])
def test_gaps_are_means_over_the_batches_in_which_there_is_something_to_compare(count: int) -> None:
    """In the second of two batches no sample has the first modality."""
    names, part = NAMES[:count], tiny_split(NAMES[:count])
    part.present = {names[0]: torch.arange(24) < 12}
    method = InfoReg(threshold=-100.0)
    fit = make_fit(method, names, data=part, **SGD)
    begin_epoch(method)
    seen = []
    for rows in (torch.arange(12), torch.arange(12, 24)):
        batch = fit.train.batch(rows)
        scores = scores_of(names, fit.model.state_dict(), batch)
        known = names if rows[0] == 0 else names[1:]
        if len(known) > 1:
            seen.append({m: ahead([scores[names.index(m)] for m in known], known.index(m)) for m in known})
        make_step(method, batch)
    end_epoch(method)
    each = {m: [gaps[m] for gaps in seen if m in gaps] for m in names}
    assert method.state_dict()["gaps"] == pytest.approx([sum(x) / len(x) for x in each.values()])
    begin_epoch(method)
    make_step(method, fit.train.batch(torch.arange(12, 24)))
    assert all(p.isfinite().all() for p in fit.model.parameters())


def test_a_parameter_that_gets_no_gradient_is_not_pulled() -> None:
    moved, frozen = (torch.nn.Parameter(torch.tensor([2.0, -1.0])) for _ in range(2))
    moved.grad = torch.tensor([1.0, 1.0])
    start = [torch.tensor([1.0, 1.0])] * 2
    pull_back([frozen, moved], start, torch.tensor(0.5))
    assert frozen.grad is None
    assert moved.grad.tolist() == [1.5, 0.0]
    pull_back([frozen], start[:1], 2.0)
