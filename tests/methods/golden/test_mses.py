"""MSES on scripted validation losses: who stops when, with which weights, and what goes on."""

import copy

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.fit.evaluated import Evaluation
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, THREE, make_fit, step
from mcr_bench.bench.testing.trials.epochs import begin_epoch, end_epoch, train
from mcr_bench.bench.testing.trials.setups import NORMED
from mcr_bench.methods.mses import Mses, smoothed

SGD = {
    "optimizer__name": "sgd", "optimizer__lr": 0.1, "optimizer__momentum": 0.9, "optimizer__weight_decay": 0.01,
    "epochs": 10, "dtype": torch.float64,
}  # fmt: skip
# Smoothed: 3, 2.4, 1.6, 1.4, ... with the minimum at epoch 4; then it rises for ever
TURNS = [3.0, 1.5, 1.75, 0.875, 2.5, 3.0, 4.0, 5.0]
FALLS = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0]


def told(fit: Fit, losses: dict[str, float]) -> Evaluation:
    """An evaluation in which the own head of each modality has this mean absolute error."""
    target = fit.val.target
    logits = {m: (target + loss)[:, None] for m, loss in losses.items()}
    return Evaluation(target[:, None], {}, logits, None, target, {})


def stops_in(losses: list[float], patience: float) -> tuple[int, int]:
    """The epoch that is best by smoothed losses, and the one after which the modality has stopped; 0 for never."""
    best, at = float("inf"), 0
    for epoch, present in enumerate(losses, 1):
        value = present if epoch == 1 else 0.6 * losses[epoch - 2] + 0.4 * present
        if value < best:
            best, at = value, epoch
        elif epoch - at > patience:
            return at, epoch
    return at, 0


def part_of(state: dict[str, Tensor], m: str) -> dict[str, Tensor]:
    return {n: x for n, x in state.items() if n.startswith((f"encoders.{m}.", f"own_heads.{m}."))}


@pytest.mark.parametrize(("count", "patience"), [(2, 0.2), (3, 0.1), (3, 0.3)])
def test_the_one_that_no_longer_falls_goes_back_and_stays_while_the_others_go_on(count: int, patience: float) -> None:
    names, method = NAMES[:count], Mses(patience=patience)
    fit = make_fit(method, names, Task(None), encoder=NORMED, **SGD)
    best, stopped = stops_in(TURNS, patience * 10)
    assert (best, stopped) == (4, 5 + round(patience * 10))
    after: list[dict[str, Tensor]] = []
    for t, turning in enumerate(TURNS):
        begin_epoch(method)
        assert fit.meters.means()[f"coefficient/{names[0]}"] == (fit.epoch <= stopped)
        step(method)
        after.append(copy.deepcopy(fit.model.state_dict()))
        method.on_epoch_end(told(fit, dict.fromkeys(names, FALLS[t]) | {names[0]: turning}))
        kept = part_of(fit.model.state_dict(), names[0])
        expected = part_of(after[best - 1] if fit.epoch >= stopped else after[-1], names[0])
        assert kept.keys() == expected.keys()
        assert all(torch.equal(x, expected[name]) for name, x in kept.items()), fit.epoch
        for m in names[1:]:
            assert all(torch.equal(x, after[-1][n]) for n, x in part_of(fit.model.state_dict(), m).items())
    step(method)
    moving = {name.split(".")[0] for name, p in fit.model.named_parameters() if p.grad is not None}
    assert moving == {"encoders", "own_heads", "fusion"}
    assert not [n for n, p in fit.model.named_parameters() if p.grad is not None and n in part_of(after[0], names[0])]
    assert not fit.model.encoders[names[0]].training


def test_when_all_have_stopped_the_fusion_head_goes_on() -> None:
    method = Mses(patience=0.0)
    fit = make_fit(method, NAMES[:2], Task(None), **SGD)
    for loss in (1.0, 2.0, 3.0):
        begin_epoch(method)
        step(method)
        method.on_epoch_end(told(fit, dict.fromkeys(NAMES[:2], loss)))
    before = copy.deepcopy(fit.model.state_dict())
    step(method)
    moved = {name.split(".")[0] for name, x in fit.model.state_dict().items() if not torch.equal(x, before[name])}
    assert moved == {"fusion"}


@pytest.mark.parametrize("task", [THREE, Task(None, labels=3)], ids=["classes", "labels"])
def test_the_loss_that_judges_is_that_of_the_samples_that_have_the_modality(task: Task) -> None:
    method = Mses()
    fit = make_fit(method, NAMES[:2], task, **SGD)
    fit.val.present = {NAMES[1]: torch.arange(24) % 3 != 0}
    train(method, 1)
    fit.model.eval()
    for m in NAMES[:2]:
        z = fit.model.own_heads[m](fit.model.encoders[m](fit.val.values[m], None))
        y = fit.val.target
        if task.classes:
            losses = -z.log_softmax(1)[torch.arange(24), y]
        else:
            losses = -(y * z.sigmoid().log() + (1 - y) * (1 - z.sigmoid()).log()).mean(1)
        expected = losses[fit.val.presence(m)].mean().item()
        assert method.state_dict()[m]["last"] == pytest.approx(expected, rel=1e-5)


def test_a_modality_that_validation_lacks_never_stops() -> None:
    method = Mses(patience=0.0)
    fit = make_fit(method, NAMES[:2], **SGD)
    fit.val.present = {NAMES[1]: torch.zeros(24, dtype=torch.bool)}
    for _ in range(3):
        begin_epoch(method)
        end_epoch(method)
    assert (method.state_dict()[NAMES[1]]["last"], method.state_dict()[NAMES[1]]["stopped"]) == (None, False)
    assert method.state_dict()[NAMES[0]]["stopped"]


def test_a_resumed_run_knows_who_has_stopped() -> None:
    method, other = Mses(patience=0.0), Mses(patience=0.0)
    fit, again = (make_fit(one, NAMES[:2], Task(None), **SGD) for one in (method, other))
    for audio, video in ((1.0, 2.0), (2.0, 1.0)):
        begin_epoch(method)
        step(method)
        method.on_epoch_end(told(fit, {NAMES[0]: audio, NAMES[1]: video}))
    other.load_state_dict(copy.deepcopy(method.state_dict()))
    step(other)
    assert [all(p.grad is None for p in again.model.encoders[m].parameters()) for m in NAMES[:2]] == [True, False]
    assert other.state_dict()[NAMES[1]]["kept"].keys() == part_of(fit.model.state_dict(), NAMES[1]).keys()


def test_smoothed_by_hand() -> None:
    assert smoothed(2.0, 1.0, 0.4) == pytest.approx(0.6 * 2 + 0.4 * 1)
    assert smoothed(2.0, 1.0, 1.0) == 1
