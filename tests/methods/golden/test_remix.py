"""Remix: divergences by NumPy, which modality a sample trains, batches of one modality, their loss and gradients."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, tiny_split, whole_batch
from mcr_bench.bench.testing.trials.epochs import batches
from mcr_bench.bench.testing.trials.setups import Setup
from mcr_bench.datasets.base import Split
from mcr_bench.methods.multi_loss import MultiLoss
from mcr_bench.methods.remix import Remix
from mcr_bench.methods.terms.sampling.hardest import certainty, hardest

DOUBLE = {"dtype": torch.float64}


def drawn_data(count: int, classes: int, n: int) -> Split:
    """Inputs of different spread, so that each modality is the hardest one for some samples."""
    return tiny_split(NAMES[:count], Task(classes), n=n, seed=count)


def prepared(method: Remix | MultiLoss, count: int = 2, classes: int = 3, n: int = 50, size: int = 8) -> Fit:
    data = drawn_data(count, classes, n)
    fit = make_fit(method, NAMES[:count], Task(classes), data=data, batch_size=size, seed=5, **DOUBLE)
    fit.epoch, fit.step = 12, 70
    return fit


@torch.no_grad()
def plain_choice(fit: Fit) -> list[str]:
    """For each training sample the modality whose own head is closest to uniform."""
    fit.model.eval()
    features, rows = fit.model.encode(whole_batch(fit).inputs), {}
    for m, f in features.items():
        head = fit.model.own_heads[m]
        z = (f @ head.weight.T + head.bias).numpy()
        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        rows[m] = [sum(v * np.log2(v * len(one)) for v in one) for one in p]
    fit.model.train()
    return [min(rows, key=lambda m, i=i: rows[m][i]) for i in range(len(fit.train))]


def test_divergence_by_hand() -> None:
    # p = (.5, .25, .25): .5 log2 1.5 + .5 log2 .75 = .2925 - .2075
    logits = torch.tensor([[2.0, 1.0, 1.0], [1.0, 1.0, 1.0]], dtype=torch.float64).log()
    assert certainty(logits).tolist() == pytest.approx([0.0849625, 0.0], abs=1e-7)
    assert certainty(torch.tensor([[0.0, 900.0, 0.0, 0.0]])).tolist() == pytest.approx([2.0])


def test_of_equally_certain_ones_the_larger_draw() -> None:
    certainties = torch.tensor([[0.5, 0.1, 0.7], [0.5, 0.1, 0.2], [0.5, 0.1, 0.2]])
    draws = torch.tensor([[0.3, 0.0, 0.9], [0.8, 0.2, 0.4], [0.1, 0.1, 0.5]])
    assert hardest(certainties, draws).tolist() == [1, 1, 2]


@pytest.mark.parametrize(("count", "classes", "size"), [(2, 3, 8), (3, 4, 8), (4, 3, 16)])
def test_batches_have_one_modality_and_every_sample_its_hardest(count: int, classes: int, size: int) -> None:
    method = Remix()
    fit = prepared(method, count, classes, size=size)
    choice, seen, kept_in_order = plain_choice(fit), set(), []
    blocks = len(set(choice))
    assert blocks > 1
    found = batches(method)
    for batch in found:
        kept = [m for m in NAMES[:count] if m not in batch.dropped]
        assert len(kept) == 1
        assert all(bool(flags.all()) for flags in batch.dropped.values())
        assert {choice[i] for i in batch.index.tolist()} == {*kept}
        seen |= {*batch.index.tolist()}
        kept_in_order += kept
    assert seen == {*range(50)}
    assert sum(a != b for a, b in pairwise(kept_in_order)) == blocks - 1, "in blocks"
    assert [len(batch.index) for batch in found[:-1]] == [size] * (len(found) - 1)
    repeated = sum(len(batch.index) for batch in found) - 50
    assert 0 <= repeated < (blocks - 1) * size
    means = fit.meters.means()
    assert [means[f"coefficient/{m}"] for m in NAMES[:count]] == pytest.approx(
        [choice.count(m) / 50 for m in NAMES[:count]]
    )


@pytest.mark.parametrize("count", [2, 3])
def test_loss_and_gradient_of_a_batch(count: int) -> None:
    """CE of the head with zeros in place of the other features, and gamma times that of the one own head."""
    method = Remix(gamma=0.7)
    fit, plain = prepared(method, count), prepared(MultiLoss(), count)
    for batch in batches(method)[::3]:
        (m,) = [m for m in NAMES[:count] if m not in batch.dropped]
        fit.zero_grad()
        terms = method.loss(method.forward(batch), batch)
        method.backward(terms)
        model, y = plain.model, batch.target
        f = model.encode_one(m, batch.inputs.values[m])
        z = f @ model.fusion.slices[m].weight.T + model.fusion.bias
        own = functional.cross_entropy(model.own_heads[m](f), y)
        expected = functional.cross_entropy(z, y) + 0.7 * own
        assert sum(terms.values()).item() == pytest.approx(expected.item(), rel=1e-9)
        learned = {n: p for n, p in model.named_parameters() if f".{m}." in n or n.endswith("fusion.bias")}
        for name, g in zip(learned, torch.autograd.grad(expected, list(learned.values())), strict=True):
            torch.testing.assert_close(fit.model.get_parameter(name).grad, g, rtol=1e-9, atol=1e-12)
        for name, p in fit.model.named_parameters():
            assert name in learned or p.grad is None or not p.grad.any(), name


def test_the_warm_up_is_multi_loss_with_its_weight() -> None:
    for warmup in (10, 3):
        method = Remix(warmup=warmup, warmup_weight=0.25)
        fit = prepared(method)
        batch = whole_batch(fit)
        losses = {}
        for epoch in (1, warmup, warmup + 1):
            fit.epoch = epoch
            assert (method.epoch_batches(epoch) is None) == (epoch <= warmup)
            losses[epoch] = {name: term.item() for name, term in method.loss(method.forward(batch), batch).items()}
        assert losses[warmup] == losses[1]
        assert losses[1]["own/video"] == pytest.approx(0.25 * losses[warmup + 1]["own/video"])
        assert losses[1]["fused"] == losses[warmup + 1]["fused"]


def test_no_modality_comes_last_in_every_epoch() -> None:
    method = Remix()
    fit, last = prepared(method, 3), set()
    for step in range(12):
        fit.step = step
        found = method.epoch_batches(12)
        assert found is not None
        last |= {m for m, flags in found.dropped.items() if not flags[-1]}
    assert last == {*NAMES[:3]}


def test_a_sample_trains_a_modality_that_it_has() -> None:
    part = Setup(NAMES[:3], partly=True, dtype=torch.float64).part(NAMES[:3])
    method = Remix()
    fit = make_fit(method, NAMES[:3], data=part, **DOUBLE)
    fit.epoch = 12
    found = method.epoch_batches(12)
    assert found is not None
    for m, has in part.present.items():
        assert not has.all()
        assert (has[found.order] | found.dropped[m]).all()


def test_a_modality_that_nobody_trains_has_no_block() -> None:
    method = Remix()
    fit = prepared(method)
    with torch.no_grad():
        for name, p in fit.model.own_heads["audio"].named_parameters():
            p.copy_(torch.tensor([40.0, 0.0, 0.0]) if name == "bias" else p * 0)
    found = method.epoch_batches(12)
    assert found is not None
    assert sorted(found.order.tolist()) == list(range(50))
    assert found.dropped["audio"].all()
    assert not found.dropped["video"].any()
