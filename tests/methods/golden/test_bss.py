"""BSS: cosines, losses and difficulties by NumPy, which samples an epoch has, and what is trained and predicted."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from torch.nn import functional

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, tiny_split, whole_batch
from mcr_bench.bench.testing.trials.epochs import train
from mcr_bench.bench.testing.trials.setups import Setup
from mcr_bench.datasets.base import Inputs
from mcr_bench.methods.bss import Bss, agreement, fraction, unit_range

N = 50


def prepared(method: Bss, count: int = 2, classes: int = 3) -> Fit:
    data = tiny_split(NAMES[:count], Task(classes), n=N, seed=count)
    fit = make_fit(method, NAMES[:count], Task(classes), data=data, batch_size=8, seed=2, dtype=torch.float64)
    fit.epoch = 1
    return fit


@torch.no_grad()
def plain_difficulty(fit: Fit, fused: float = 0.1, own: float = 0.9) -> np.ndarray:
    """The difficulty of each training sample, from the weights as they are."""
    y = fit.train.target.numpy()
    fit.model.eval()
    batch = whole_batch(fit)
    features = fit.model.encode(batch.inputs)
    logits = {m: fit.model.own_heads[m](f).numpy() for m, f in features.items()}
    z = sum(f @ fit.model.fusion.slices[m].weight.T for m, f in features.items()) + fit.model.fusion.bias
    fit.model.train()

    def softmax(rows: np.ndarray) -> np.ndarray:
        e = np.exp(rows - rows.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    p = [softmax(one) for one in logits.values()]
    cosine = np.mean([(a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1)) for a, b in combinations(p, 2)], axis=0)
    right = np.arange(len(y)), y
    losses = -own * sum(np.log(one[right]) for one in p) - fused * np.log(softmax(z.numpy())[right])
    apart = 1 - cosine
    return (apart - apart.min()) / np.ptp(apart) + (losses - losses.min()) / np.ptp(losses)


def test_agreement_by_hand() -> None:
    # (.8, .2) and (.5, .5): .5 / (.824621 * .707107) = .857493; each with (.5, .5) twice, and that with itself 1
    logits = torch.tensor([[0.8, 0.2], [0.5, 0.5], [0.5, 0.5]], dtype=torch.float64).log()[:, None]
    assert agreement(logits[:2]).tolist() == pytest.approx([0.8574929])
    assert agreement(logits).tolist() == pytest.approx([(2 * 0.8574929 + 1) / 3])
    lacking = torch.tensor([[True], [False], [True]])
    assert agreement(logits, lacking).tolist() == pytest.approx([0.8574929])
    assert agreement(logits, torch.tensor([[True], [False], [False]])).tolist() == [1.0]


def test_unit_range_and_fraction_by_hand() -> None:
    assert unit_range(torch.tensor([3.0, -1.0, 1.0])).tolist() == [1, 0, 0.5]
    assert unit_range(torch.tensor([3.0, 3.0])).tolist() == [0, 0]
    # .04 + .96 * 5 / 20 = .28
    assert fraction(5, 0.2, 20) == pytest.approx(math.sqrt(0.28))
    assert fraction(10, 0.1, 40) == pytest.approx(math.sqrt(0.2575))
    assert [fraction(t, 0.1, 40) for t in (40, 41, 200)] == [1, 1, 1]


@pytest.mark.parametrize(("count", "classes"), [(2, 3), (3, 5), (4, 3)])
def test_difficulties(count: int, classes: int) -> None:
    method = Bss(fused=0.3, own=0.6)
    fit = prepared(method, count, classes)
    assert method.difficulty().tolist() == pytest.approx(plain_difficulty(fit, 0.3, 0.6).tolist(), abs=1e-9)
    assert method.difficulty().aminmax().min >= 0


@pytest.mark.parametrize("count", [2, 3])
def test_the_easiest_come_first_and_more_with_every_epoch(count: int) -> None:
    method = Bss(growth=10)
    fit = prepared(method, count)
    easy = np.argsort(plain_difficulty(fit), kind="stable").tolist()
    for epoch in (1, 2, 5, 9):
        fit.epoch = epoch
        found = method.epoch_batches(epoch)
        assert found is not None
        number = int(N * math.sqrt(0.01 + 0.99 * epoch / 10))
        assert sorted(found.order.tolist()) == sorted(easy[:number])
        assert found.order.tolist() == [i for i in fit.order().tolist() if i in easy[:number]]
        assert not found.dropped
    fit.epoch = 10
    assert method.epoch_batches(10) is None, "all samples, in the order of all methods"


def test_the_difficulty_of_the_first_epoch_stays() -> None:
    method, later = Bss(growth=10), Bss(growth=10)
    fit = prepared(method)
    easy = np.argsort(plain_difficulty(fit), kind="stable").tolist()
    fit.epoch = 0
    train(method, 3)
    fit.epoch = 5
    found = method.epoch_batches(5)
    assert found is not None
    number = int(N * math.sqrt(0.01 + 0.99 * 5 / 10))
    assert sorted(found.order.tolist()) == sorted(easy[:number])
    assert np.argsort(plain_difficulty(fit), kind="stable").tolist()[:number] != easy[:number]
    prepared(later).epoch = 5
    later.load_state_dict(method.state_dict())
    again = later.epoch_batches(5)
    assert again is not None
    assert torch.equal(again.order, found.order)


def test_self_paced_sequences_tend_to_begin_with_easy_samples() -> None:
    """Of two samples a and b, a comes first with probability w_a / (w_a + w_b): within 5 standard errors of 300."""
    method = Bss(sequence="self-paced")
    fit = prepared(method)
    difficulty = plain_difficulty(fit)
    weights, first = 2.01 - difficulty, 0
    easy, hard = int(difficulty.argmin()), int(difficulty.argmax())
    places = np.zeros(N)
    for fit.step in range(300):
        found = method.epoch_batches(1)
        assert found is not None
        assert sorted(found.order.tolist()) == list(range(N))
        place = found.order.argsort().numpy()
        places += place / 300
        first += place[easy] < place[hard]
    expected = weights[easy] / (weights[easy] + weights[hard])
    assert first / 300 == pytest.approx(expected, abs=5 * math.sqrt(expected * (1 - expected) / 300))
    assert np.corrcoef(places, difficulty)[0, 1] > 0.9


def test_self_paced_difficulty_is_that_of_the_present_weights() -> None:
    method = Bss(sequence="self-paced")
    fit = prepared(method)
    before = method.difficulty()
    train(method, 2)
    assert not torch.allclose(method.difficulty(), before)
    assert method.difficulty().tolist() == pytest.approx(plain_difficulty(fit).tolist(), abs=1e-9)


@pytest.mark.parametrize("count", [2, 3])
def test_loss_and_prediction(count: int) -> None:
    method = Bss(fused=0.2, own=0.7)
    fit = prepared(method, count)
    batch = whole_batch(fit)
    features, model, y = fit.model.encode(batch.inputs), fit.model, batch.target
    own = {m: f @ model.own_heads[m].weight.T + model.own_heads[m].bias for m, f in features.items()}
    z = sum(f @ model.fusion.slices[m].weight.T for m, f in features.items()) + model.fusion.bias
    expected = 0.2 * functional.cross_entropy(z, y) + 0.7 * sum(functional.cross_entropy(h, y) for h in own.values())
    assert sum(method.loss(method.forward(batch), batch).values()).item() == pytest.approx(expected.item(), rel=1e-9)
    torch.testing.assert_close(method.predict(model, batch.inputs).logits, sum(own.values()), rtol=1e-9, atol=1e-12)
    has = torch.arange(N) % 2 == 0
    partly = Inputs(batch.inputs.values, present={"audio": has})
    torch.testing.assert_close(
        method.predict(model, partly).logits, sum(own.values()) - own["audio"] * ~has[:, None], rtol=1e-9, atol=1e-12
    )


def test_samples_that_lack_a_modality_count_with_the_others() -> None:
    part = Setup(NAMES[:2], partly=True, dtype=torch.float64).part(NAMES[:2])
    method = Bss()
    fit = make_fit(method, NAMES[:2], data=part, dtype=torch.float64)
    batch = whole_batch(fit)
    cosines, losses = method.measures(batch)
    outputs = fit.model(batch.inputs)
    for i in (~part.present["audio"]).nonzero()[:, 0].tolist():
        own = functional.cross_entropy(outputs.own_logits["video"][i], batch.target[i])
        fused = functional.cross_entropy(outputs.logits[i], batch.target[i])
        assert losses[i].item() == pytest.approx((0.1 * fused + 0.9 * 2 * own).item(), rel=1e-9)
        assert cosines[i] == 1
