"""OPM: rates by hand and by plain loops, how often samples are dropped, and the loss of what is left."""

import math

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, tiny_split, whole_batch
from mcr_bench.datasets.base import Batch, Inputs
from mcr_bench.methods.joint import Joint
from mcr_bench.methods.opm import Opm
from mcr_bench.methods.terms.features.dropping import drop_rates

DOUBLE = {"dtype": torch.float64}


def test_rates_by_hand() -> None:
    # s / other = 2: r = tanh 1 = 0.76159; q = .5 (1 + .5 * .76159) = .69040
    found = drop_rates(torch.tensor([0.3, 0.6], dtype=torch.float64), 0.5, 0.5)
    assert found.tolist() == pytest.approx([0.0, 0.6903985], rel=1e-6)
    # others of the first: (.2 + .4) / 2, ratio 3, r = tanh 2 = .9640276; of the third: .55, below 1
    found = drop_rates(torch.tensor([0.9, 0.2, 0.4], dtype=torch.float64), 0.4, 2.0)
    assert found.tolist() == pytest.approx([1.0, 0.0, 0.0], rel=1e-6), "at most 1"
    found = drop_rates(torch.tensor([0.9, 0.2, 0.4], dtype=torch.float64), 0.2, 1.0)
    assert found.tolist() == pytest.approx([0.3928055, 0.0, 0.0], rel=1e-6)
    assert drop_rates(torch.tensor([0.5, 0.5]), 0.5, 0.5).tolist() == [0.0, 0.0]


def test_a_modality_that_nobody_in_the_batch_has_is_not_compared() -> None:
    nobody = {"audio": torch.zeros(3, dtype=torch.bool)}
    found = drop_rates(torch.tensor([math.nan, 0.3, 0.6], dtype=torch.float64), 0.5, 0.5, nobody)
    assert found.tolist() == pytest.approx([0.0, 0.0, 0.6903985], rel=1e-6), "as of the other two alone"
    assert drop_rates(torch.tensor([math.nan, 0.3]), 0.5, 0.5, nobody).tolist() == [0.0, 0.0]


@torch.no_grad()
def plain_rates(fit: Fit, method: Opm) -> dict[str, float]:
    model, y, scores = fit.model, fit.train.target, {}
    for m, f in model.encode(whole_batch(fit).inputs).items():
        z = f @ model.fusion.slices[m].weight.T + model.fusion.bias / len(model.modalities)
        if fit.task.regression:
            scores[m] = 1 / ((z[:, 0] - y).abs().mean().item() + 1e-8)
        else:
            scores[m] = sum(math.exp(row[t]) / row.exp().sum().item() for row, t in zip(z, y.tolist(), strict=True))
    rates = {}
    for m, s in scores.items():
        rest = [v for k, v in scores.items() if k != m]
        r = math.tanh(max(0.0, s / (sum(rest) / len(rest)) - 1))
        rates[m] = min(1.0, method.base * (1 + method.strength * r)) if r > 0 else 0.0
    return rates


@pytest.mark.parametrize("task", [Task(4), Task(None)], ids=["classes", "score"])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_rates_loss_and_gradients_follow_from_what_was_dropped(count: int, task: Task) -> None:
    """What was dropped is read off the features that reach the head; the rest is computed from it by hand."""
    method = Opm(batches=1.0, start=1, base=0.6)
    fit = make_fit(method, NAMES[:count], task, **DOUBLE)
    fit.epoch = fit.step = 1
    batch, plain = whole_batch(fit), make_fit(Joint(), NAMES[:count], task, **DOUBLE)
    q = plain_rates(plain, method)
    assert max(q.values()) > 0.5
    outputs = method.forward(batch)
    found = method.loss(outputs, batch)["fused"]
    found.backward()
    own, scale = plain.model.encode(batch.inputs), 1 - sum(q.values()) / count
    kept = {}
    for m, f in own.items():
        silent = (f == 0).all(1)
        kept[m] = (outputs.features[m] != 0).any(1) | silent
        expected = f * kept[m][:, None] / scale
        torch.testing.assert_close(outputs.features[m], expected, rtol=1e-6, atol=1e-12)
        assert kept[m].all() == (q[m] == 0)
    left = torch.stack(list(kept.values())).any(0)
    logits = plain.model.fuse({m: f * kept[m][:, None] / scale for m, f in own.items()}).logits
    expected = (task.per_sample(logits, batch.target) * left).sum() / left.sum()
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    expected.backward()
    for name, p in plain.model.named_parameters():
        if p.grad is not None:
            torch.testing.assert_close(fit.model.get_parameter(name).grad, p.grad, rtol=1e-5, atol=1e-9)


def dropped_shares(method: Opm, n: int) -> tuple[float, float]:
    """The share of changed batches, and of dropped samples in them, of the modality that is ahead, over 40 steps."""
    fit = make_fit(method, data=tiny_split(n=n), **DOUBLE)
    fit.epoch, batch, shares = 9, whole_batch(fit), []
    plain = fit.model.encode(batch.inputs)
    ahead = max(rates := plain_rates(fit, method), key=lambda m: rates[m])
    speaks = (plain[ahead] != 0).any(1)
    for number in range(1, 41):
        fit.step = number
        shares.append((method.forward(batch).features[ahead] == 0).all(1)[speaks].double().mean().item())
    changed = [share for share in shares if share > 0]
    return len(changed) / 40, sum(changed) / len(changed) / rates[ahead]


def test_batches_and_samples_are_drawn_with_their_probabilities() -> None:
    """Within four standard errors: .07 of 40 batches, and about .01 of 40 x 200 samples."""
    for batches in (0.7, 0.3):
        changed, relative = dropped_shares(Opm(batches=batches), 200)
        assert changed == pytest.approx(batches, abs=0.29)
        assert relative == pytest.approx(1.0, abs=0.06)


def test_before_its_epoch_and_in_prediction_nothing_is_dropped() -> None:
    method = Opm(batches=1.0)
    fit = make_fit(method, **DOUBLE)
    batch = whole_batch(fit)
    for epoch, acts in ((1, False), (5, False), (6, True), (40, True)):
        fit.epoch = fit.step = epoch
        same = torch.equal(method.forward(batch).logits, fit.model(batch.inputs).logits)
        assert same != acts
        assert torch.equal(method.predict(fit.model, batch.inputs).logits, fit.model(batch.inputs).logits)


def test_samples_that_lose_everything_do_not_count() -> None:
    method = Opm(batches=1.0, start=1, base=1.0)
    fit = make_fit(method, NAMES[:2], **DOUBLE)
    fit.epoch = fit.step = 1
    whole = whole_batch(fit)
    q = plain_rates(fit, method)
    behind = min(q, key=lambda m: q[m])
    gone = torch.arange(len(whole.target)) % 4 == 0
    batch = Batch(whole.inputs, whole.target, whole.index, dropped={behind: gone})
    outputs = method.forward(batch)
    logits: Tensor = outputs.logits
    rows = fit.task.per_sample(logits, batch.target)
    assert method.loss(outputs, batch)["fused"].item() == pytest.approx(rows[~gone].mean().item(), rel=1e-9)


@pytest.mark.parametrize("count", [2, 3])
def test_samples_that_lack_what_is_not_dropped_do_not_count(count: int) -> None:
    """Half of the samples have but one modality, which some of them lose; the features tell which."""
    method = Opm(batches=1.0, start=1, base=0.8)
    fit = make_fit(method, NAMES[:count], **DOUBLE)
    fit.epoch = fit.step = 1
    whole = whole_batch(fit)
    q = plain_rates(fit, method)
    ahead, has = max(q, key=lambda m: q[m]), torch.arange(24) % 2 == 0
    inputs = Inputs(whole.inputs.values, present=dict.fromkeys(set(NAMES[:count]) - {ahead}, has))
    batch = Batch(inputs, whole.target, whole.index)
    outputs = method.forward(batch)
    left = has | (outputs.features[ahead] != 0).any(1)
    assert 12 < left.sum() < 24
    rows = fit.task.per_sample(outputs.logits, batch.target)
    assert method.loss(outputs, batch)["fused"].item() == pytest.approx(rows[left].mean().item(), rel=1e-9)


def test_a_batch_that_loses_everything_has_no_loss_and_no_gradient() -> None:
    method = Opm(batches=1.0, start=1)
    fit = make_fit(method, **DOUBLE)
    whole = whole_batch(fit)
    gone = dict.fromkeys(fit.model.modalities, torch.ones(24, dtype=torch.bool))
    step(method, Batch(whole.inputs, whole.target, whole.index, dropped=gone))
    assert fit.meters.means()["loss/fused"] == 0
    assert not any(p.grad.any() for p in fit.model.parameters() if p.grad is not None)
