"""Gradient Blending by plain gradient descent on each branch of a copy, on the samples that are not held out."""

import copy

import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, SMALL, THREE, make_fit, tiny_split, whole_batch
from mcr_bench.bench.testing.trials.epochs import batches, begin_epoch, end_epoch, make_step, train
from mcr_bench.bench.testing.trials.setups import NORMED
from mcr_bench.datasets.base import Split
from mcr_bench.methods.gradient_blending import GradientBlending, blend

RATE = 0.2
SGD = {"optimizer__name": "sgd", "optimizer__lr": RATE, "optimizer__momentum": 0.0, "optimizer__weight_decay": 0.0}
WHOLE = {**SGD, "batch_size": 64, "clip_norm": 0.0, "dtype": torch.float64}  # one step per epoch, in any order
TASKS = {"classes": THREE, "score": Task(None), "labels": Task(None, labels=3)}


def per_sample(z: Tensor, y: Tensor, task: Task) -> Tensor:
    if task.classes is not None:
        return -z.log_softmax(1)[torch.arange(len(y)), y]
    if task.labels is not None:
        p = z.sigmoid()
        return -(y * p.log() + (1 - y) * (1 - p).log()).mean(1)
    return (z[:, 0] - y).abs()


def loss_of(model: nn.Module, part: Split, rows: Tensor, branch: str | None, task: Task) -> Tensor:
    """The mean loss of a branch over the samples `rows` that have its modality."""
    batch = part.batch(rows)
    if branch is None:
        return per_sample(model(batch.inputs).logits, batch.target, task).mean()
    z = model.own_heads[branch](model.encoders[branch](batch.inputs.values[branch], None))
    return per_sample(z, batch.target, task)[part.presence(branch)[rows]].mean()


def expected_weights(fit: Fit, trained: Tensor, held: Tensor, epochs: int) -> list[float]:
    ratios = []
    for branch in (None, *fit.model.modalities):
        model = copy.deepcopy(fit.model)
        start = [loss_of(model, fit.train, rows, branch, fit.task).item() for rows in (trained, held)]
        learned = [p for p in model.parameters() if p.requires_grad]
        for _ in range(epochs):
            loss = loss_of(model, fit.train, trained, branch, fit.task)
            with torch.no_grad():
                for p, g in zip(learned, torch.autograd.grad(loss, learned, allow_unused=True), strict=True):
                    if g is not None:
                        p -= RATE * g
        end = [loss_of(model, fit.train, rows, branch, fit.task).item() for rows in (trained, held)]
        overfit = (end[1] - end[0]) - (start[1] - start[0])
        ratios.append(max(start[1] - end[1], 1e-8) / max(overfit**2, 1e-8))
    return [ratio / sum(ratios) for ratio in ratios]


def kept_out(method: GradientBlending) -> tuple[Tensor, Tensor]:
    """The samples that are trained on, and those that are held out."""
    count = len(method.fit.train)
    other = GradientBlending(held_out=method.held_out)
    make_fit(other, tuple(method.fit.model.modalities), method.fit.task, data=method.fit.train, **WHOLE)
    order = other.epoch_batches(1).order
    return order, torch.tensor([i for i in range(count) if i not in order.tolist()])


def test_weights_by_hand() -> None:
    # gains .5, .3 and .2; the gap grows from 0 to .1, .2 and .1: 50, 7.5 and 20 of 77.5
    before = torch.tensor([[1.0, 2.0, 1.0], [1.0, 2.0, 1.0]], dtype=torch.float64)
    after = torch.tensor([[0.4, 1.5, 0.7], [0.5, 1.7, 0.8]], dtype=torch.float64)
    assert blend(before, after).tolist() == pytest.approx([50 / 77.5, 7.5 / 77.5, 20 / 77.5], rel=1e-9)


def test_a_branch_that_gains_nothing_has_next_to_no_weight_and_none_is_infinite() -> None:
    before = torch.zeros(2, 3, dtype=torch.float64)
    worse = torch.tensor([[-0.5, -0.5, -0.5], [0.5, -0.1, -0.2]], dtype=torch.float64)
    found = blend(before, worse)
    assert found[0] < 1e-6
    assert found.sum().item() == pytest.approx(1)
    assert blend(before, before).tolist() == pytest.approx([1 / 3] * 3)  # 1e-8 / 1e-8 each


@pytest.mark.parametrize("mode", ["online", "offline"])
@pytest.mark.parametrize(("count", "task"), [(2, "classes"), (3, "classes"), (2, "score"), (3, "labels")])
def test_weights_are_those_of_branches_trained_by_hand(count: int, task: str, mode: str) -> None:
    method = GradientBlending(mode=mode, super_epoch=3, held_out=0.25)
    fit = make_fit(method, NAMES[:count], TASKS[task], epochs=5, **WHOLE)
    trained, held = kept_out(method)
    assert len(held) == 6
    expected = expected_weights(fit, trained, held, 3 if mode == "online" else 5)
    begin_epoch(method)
    assert method.state_dict()["weights"].tolist() == pytest.approx(expected, rel=1e-8)
    logged = fit.meters.means()
    found = [logged["weight/fused"], *(logged[f"coefficient/{m}"] for m in NAMES[:count])]
    assert found == pytest.approx(expected, rel=1e-6)


def test_online_weights_are_found_again_from_the_present_state_and_hold_in_between() -> None:
    method = GradientBlending(super_epoch=2, held_out=0.25)
    fit = make_fit(method, NAMES[:2], epochs=3, **WHOLE)
    trained, held = kept_out(method)
    seen = []
    for epoch in (1, 2, 3):
        expected = expected_weights(fit, trained, held, 2 if epoch == 1 else 1)  # one epoch remains in the third
        begin_epoch(method)
        seen.append(method.state_dict()["weights"].tolist())
        if epoch != 2:
            assert seen[-1] == pytest.approx(expected, rel=1e-8)
        for batch in batches(method):
            make_step(method, batch)
        end_epoch(method)
    assert seen[0] == seen[1] != seen[2]


def test_a_branch_takes_the_samples_that_have_its_modality() -> None:
    data = tiny_split(NAMES[:2])
    data.present = {NAMES[1]: torch.arange(24) % 4 != 1}
    method = GradientBlending(super_epoch=2, held_out=0.25)
    fit = make_fit(method, NAMES[:2], data=data, **WHOLE)
    expected = expected_weights(fit, *kept_out(method), 2)
    begin_epoch(method)
    assert method.state_dict()["weights"].tolist() == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("count", [2, 3])
def test_the_loss_is_the_weighted_sum(count: int) -> None:
    method = GradientBlending(super_epoch=1)
    fit = make_fit(method, NAMES[:count], **WHOLE)
    batch, rows = whole_batch(fit), torch.arange(24)
    plain = [loss_of(fit.model, fit.train, rows, b, THREE).item() for b in (None, *NAMES[:count])]
    equal = method.loss(method.forward(batch), batch)
    assert [x.item() for x in equal.values()] == pytest.approx([x / (count + 1) for x in plain])
    begin_epoch(method)
    terms = method.loss(method.forward(batch), batch)
    assert list(terms) == ["fused", *(f"own/{m}" for m in NAMES[:count])]
    weighted = [w * x for w, x in zip(method.state_dict()["weights"].tolist(), plain, strict=True)]
    assert [x.item() for x in terms.values()] == pytest.approx(weighted)


def test_finding_weights_leaves_the_run_as_it_was() -> None:
    """Weights, statistics of batch norm and both moments of Adam, in the midst of a run."""
    method = GradientBlending(super_epoch=2)
    fit = make_fit(method, encoder=NORMED, optimizer__name="adam", batch_size=8)
    train(method, 1)
    fit.model.train()
    before = copy.deepcopy((fit.model.state_dict(), fit.optimizer.state_dict()))
    method.estimate()
    after = fit.model.state_dict(), fit.optimizer.state_dict()
    for name, x in before[0].items():
        assert torch.equal(x, after[0][name]), name
    for key, moments in before[1]["state"].items():
        assert all(torch.equal(x, after[1]["state"][key][name]) for name, x in moments.items())
    assert before[1]["param_groups"] == after[1]["param_groups"]
    assert fit.model.training


def test_held_out_samples_are_trained_on_by_no_online_epoch() -> None:
    method = GradientBlending(held_out=0.2)
    fit = make_fit(method)
    orders = []
    for fit.epoch in (1, 2, 30):
        orders.append(method.epoch_batches(fit.epoch).order)
    assert {len(order) for order in orders} == {19}  # 24 less a fifth, rounded
    assert len({frozenset(order.tolist()) for order in orders}) == 1
    assert not torch.equal(orders[0], orders[1])
    offline = GradientBlending(mode="offline")
    make_fit(offline)
    assert offline.epoch_batches(1) is None


def test_one_sample_cannot_be_held_out_of_one() -> None:
    with pytest.raises(UserError, match="needs two at least"):
        make_fit(GradientBlending(), data=tiny_split(n=1))


@pytest.mark.parametrize("mode", ["online", "offline"])
@pytest.mark.parametrize(("size", "share", "held"), [(7, 0.1, 1), (22, 0.05, 2), (4, 0.125, 2), (1, 0.1, 2)])
def test_holding_samples_out_leaves_no_batch_of_one_for_batch_norm(
    size: int, share: float, held: int, mode: str
) -> None:
    """24 - 2 = 3 x 7 + 1, 24 - 1 = 22 + 1 and 24 - 3 = 5 x 4 + 1: one fewer is held out, or one more than one."""
    online = GradientBlending(held_out=share)
    make_fit(online, batch_size=size)
    assert 24 - len(online.epoch_batches(1).order) == held
    method = GradientBlending(mode=mode, held_out=share, super_epoch=1)
    make_fit(method, encoder=SMALL if size == 1 else NORMED, batch_size=size, epochs=1)
    train(method, 1)
