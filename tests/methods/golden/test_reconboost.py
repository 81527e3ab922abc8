"""ReconBoost: the losses of a stage from their definition, who learns when, and fresh optimisers."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.multimodal import Owner
from mcr_bench.bench.problem.facts import Facts, Modality
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, whole_batch
from mcr_bench.bench.testing.trials.epochs import batches, begin_epoch, make_step, train
from mcr_bench.methods.reconboost import ReconBoost, disagreement, focus
from mcr_bench.methods.terms.boosting.turns import phase_length, place_of
from mcr_bench.tests.methods.golden.in_turns import interrupt, require_bit_equal, require_drawn_order
from mcr_bench.tests.methods.golden.reconboost_rule import stage_loss

SHORT = {"epochs_per_stage": 1, "correct_epochs": 1}
RATES = {"optimizer__name": "sgd", "optimizer__weight_decay": 0.0}


def test_a_sample_that_the_others_get_right_counts_less() -> None:
    others = torch.tensor([[math.log(3.0), 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, math.log(5.0)]], dtype=torch.float64)
    weights = focus(others, torch.tensor([0, 0]), w1=4.0, w2=2.0)
    assert weights.tolist() == pytest.approx([(4 - 2 * 3 / 6) / 4, (4 - 2 * 1 / 8) / 4])  # q = 3 / 6 and 1 / 8


def test_disagreement_of_two_known_distributions() -> None:
    own, previous = torch.tensor([[math.log(3.0), 0.0]]), torch.tensor([[0.0, math.log(4.0)]])
    assert disagreement(own, previous).tolist() == pytest.approx([(3 / 4 - 1 / 5) ** 2])


def at_stage(method: ReconBoost, stage: int) -> None:
    """Go to the epoch of a stage that trains one modality, where each phase has one epoch."""
    method.fit.epoch = 2 * stage + 1


def gradients(method: ReconBoost, loss: Tensor) -> dict[str, Tensor]:
    named = dict(method.fit.model.named_parameters())
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {name: g for name, g in zip(named, found, strict=True) if g is not None}


@pytest.mark.parametrize("head", ["shared", "fusion"])
@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("stage", [0, 1, 5])
def test_loss_and_gradient_of_a_stage(head: str, count: int, stage: int) -> None:
    method = ReconBoost(head=head, alpha=0.7, w1=3.0, w2=2.0, **SHORT)
    fit = make_fit(method, NAMES[:count], dtype=torch.float64)
    if head == "shared":
        fit.model.fusion.scale.data.fill_(1.4)  # type: ignore[operator, union-attr]
    at_stage(method, stage)
    fit.model.train()
    batch = whole_batch(fit)
    mine = sum(method.loss(method.forward(batch), batch).values())
    theirs = stage_loss(fit.model, batch, method.turns, stage, (3.0, 2.0, 0.7), official=False)
    torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradients(method, mine), gradients(method, theirs), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3])
def test_one_modality_and_the_shared_head_learn_alone_and_then_all(count: int) -> None:
    method = ReconBoost(epochs_per_stage=2, correct_epochs=1)
    model = make_fit(method, NAMES[:count], optimizer__lr=0.05, optimizer__weight_decay=0.01).model

    def moved() -> set[Owner | str]:
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        train(method)
        own = {name: owner for name, p, owner in model.owned() if not torch.equal(before[name], p)}
        return {owner.modality or name.removesuffix(".weight") for name, owner in own.items() if "bias" not in name}

    shared = {"fusion.head.0", "fusion.head.2"}
    for stage in range(count + 1):
        learner = method.turns[stage % count]
        assert moved() == {learner} | shared
        assert moved() == {learner} | shared
        assert moved() == {*NAMES[:count], "fusion.scale"} | shared


def test_the_schedule_follows_from_the_number_of_the_epoch() -> None:
    places = [place_of(epoch, alone=2, joint=3) for epoch in range(1, 12)]
    assert [p.stage for p in places] == [0] * 5 + [1] * 5 + [2]
    assert [p.joint for p in places] == [False, False, True, True, True] * 2 + [False]
    assert [p.first for p in places] == [True, False, True, False, False] * 2 + [True]


@pytest.mark.parametrize(("epochs", "count"), [(30, 2), (30, 3), (100, 2), (1500, 2), (200, 4)])
def test_every_modality_has_four_stages_in_a_run(epochs: int, count: int) -> None:
    method = ReconBoost()
    make_fit(method, NAMES[:count], epochs=epochs)
    alone, joint = method.lengths
    assert (alone, joint) == (phase_length(epochs, count),) * 2
    assert 1 <= alone <= 4
    assert epochs // (alone + joint) >= 3 * count  # the third round at least is finished
    last = place_of(epochs, alone, joint).stage
    assert last >= 3 * count


@pytest.mark.parametrize("fresh", [True, False])
def test_a_phase_starts_without_momentum(fresh: bool) -> None:
    method = ReconBoost(fresh=fresh, **SHORT)
    fit = make_fit(method, optimizer__lr=0.1, batch_size=24, **RATES)
    train(method)
    weight = fit.model.fusion.get_submodule("head.2").weight
    begin_epoch(method)
    (batch,) = batches(method)
    before = weight.detach().clone()  # type: ignore[operator, union-attr]
    make_step(method, batch)
    plain = before - 0.1 * weight.grad  # type: ignore[operator, union-attr]
    assert torch.allclose(weight, plain, atol=1e-7) == fresh  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("epochs", [1, 3, 4])
def test_a_run_that_is_interrupted_in_a_stage_ends_bit_equal(count: int, epochs: int, tmp_path: Path) -> None:
    """After so many epochs and two steps of the next one, in stages of two and of one epoch."""

    def started() -> ReconBoost:
        method = ReconBoost(epochs_per_stage=2, correct_epochs=1)
        make_fit(method, NAMES[:count], batch_size=8)
        return method

    method, again = train(started(), epochs), started()
    interrupt(method, again, tmp_path)
    assert method.turns == again.turns
    require_bit_equal(method, again)


def test_the_order_is_drawn_from_the_seed_and_not_from_the_order_given() -> None:
    require_drawn_order(ReconBoost)


def test_absent_samples_do_not_count_in_the_loss_of_their_modality() -> None:
    method = ReconBoost(order="given", **SHORT)
    fit = make_fit(method, dtype=torch.float64)
    present = {NAMES[0]: torch.arange(24) % 3 > 0}
    batch = whole_batch(fit)
    lacking = replace(batch, inputs=replace(batch.inputs, present=present))
    some = fit.train.batch(torch.arange(24)[present[NAMES[0]]])
    fit.epoch = 1
    found, expected = (method.loss(method.forward(one), one)["boosting"] for one in (lacking, some))
    torch.testing.assert_close(found, expected)


def test_tasks_for_which_it_is_not_defined_are_refused_with_the_reason() -> None:
    assert "classification" in str(ReconBoost.needs.unmet(2, Task(None)))
    assert "several labels" in str(ReconBoost.needs.unmet(2, Task(None, labels=3)))
    assert ReconBoost().skip(Facts({"a": Modality((2,))}, Task(2))) is None


def test_a_step_of_one_modality_makes_one_backward_pass() -> None:
    method = ReconBoost(**SHORT)
    fit = make_fit(method, NAMES[:3])
    with fit.meters.watching(fit.model, 24):
        step(method)
    means = fit.meters.means()
    assert means["encoder_passes/forward"] == pytest.approx(1)
    assert means["encoder_passes/backward"] == pytest.approx(1 / 3)


def test_a_weight_that_would_maximise_the_loss_is_refused() -> None:
    with pytest.raises(UserError, match=r"reconboost\.w1=0 is less than reconboost\.w2=1.*Set a larger w1"):
        ReconBoost(w1=0.0)
    assert ReconBoost(w1=1.0, w2=1.0).w1 == 1
