"""MOO: rules by hand and beside torchjd's, aggregators on Jacobians from separate passes, state, a missing library."""

import math
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, tiny_split, whole_batch
from mcr_bench.bench.testing.trials.epochs import batches, begin_epoch, end_epoch, make_step, train
from mcr_bench.bench.training.checkpoints import read_checkpoint, write_checkpoint
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.mmpareto import MMPareto
from mcr_bench.methods.moo import Moo
from mcr_bench.methods.terms.objectives.jacobian_descent import AGGREGATORS, LOSSES
from mcr_bench.methods.terms.objectives.scalarisers import (
    Tchebycheff,
    Uncertainty,
    WeightAverage,
    filled,
    log_ratios,
    smooth_maximum,
)

BUILT_IN = ["equal", "mgda", "uw", "dwa", "stch"]
PLAIN = [name for name in AGGREGATORS if name not in ("cagrad", "graddrop", "gradvac", "pcgrad")]  # no draws, no state
SGD = {"optimizer__name": "sgd", "optimizer__momentum": 0.0, "optimizer__weight_decay": 0.0, "dtype": torch.float64}
LOSSES_OF_EPOCHS = torch.tensor([[2.0, 1.0, 4.0], [1.0, 0.9, 2.0], [0.5, 0.8, 1.9], [0.4, 0.1, 1.8]])


def objectives(fit: Fit) -> dict[str, Tensor]:
    """L under the name '' and L_m under that of the modality, on all training samples."""
    batch = whole_batch(fit)
    outputs = fit.model(batch.inputs)
    logits = {"": outputs.logits, **outputs.own_logits}
    return {m: fit.task.loss(z, batch.target) for m, z in logits.items()}


def jacobian(fit: Fit, modality: str) -> Tensor:
    """The gradients of L and L_m with respect to encoder m, (2, n)."""
    losses, parameters = objectives(fit), list(fit.model.encoders[modality].parameters())
    rows = [torch.autograd.grad(losses[key], parameters, retain_graph=True) for key in ("", modality)]
    return torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])


def gradient(fit: Fit, modality: str) -> Tensor:
    """What encoder m has as its gradient, (n,)."""
    return torch.cat([p.grad.flatten() for p in fit.model.encoders[modality].parameters()])


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("task", [Task(3), Task(None)], ids=["classes", "score"])
@pytest.mark.parametrize("name", ["mgda", *PLAIN])
def test_an_encoder_gets_what_torchjd_makes_of_its_two_gradients(name: str, task: Task, count: int) -> None:
    aggregation = pytest.importorskip("torchjd.aggregation")
    method = Moo(aggregator=name)
    fit = make_fit(method, NAMES[:count], task, **SGD)
    rule = aggregation.MGDA() if name == "mgda" else getattr(aggregation, AGGREGATORS[name])()
    wanted = {m: rule(jacobian(fit, m)) for m in NAMES[:count]}
    heads = [*fit.model.fusion.parameters(), *fit.model.own_heads.parameters()]
    plain = torch.autograd.grad(sum(objectives(fit).values()), heads)
    step(method)
    for m, vector in wanted.items():
        torch.testing.assert_close(gradient(fit, m), vector, rtol=1e-9, atol=1e-12)
    for parameter, expected in zip(heads, plain, strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-12, atol=1e-15)


def test_mmpareto_is_mgda_made_longer_where_gradients_conflict() -> None:
    found = []
    for method in (Moo(aggregator="mgda"), MMPareto(gamma=1.0)):
        fit = make_fit(method, **SGD)
        with torch.no_grad():
            fit.model.own_heads["audio"].weight.copy_(-fit.model.fusion.slices["audio"].weight)
        first, second = jacobian(fit, "audio")
        assert first @ second < 0
        step(method)
        found.append([p.grad for p in fit.model.encoders["audio"].parameters()])
    for short, long in zip(*found, strict=True):
        cosine = (short * long).sum() / (short.norm() * long.norm())
        assert cosine.item() == pytest.approx(1.0, abs=1e-12)
        assert long.norm() >= 2 * short.norm() * (1 - 1e-12)


def test_uncertainty_weighting_by_hand() -> None:
    """One step from s = 0: weights 1/2, and s_k moves by -lr (1 - L_k) / 2."""
    method = Moo(aggregator="uw")
    fit = make_fit(method, NAMES[:3], optimizer__lr=0.1, **SGD)
    losses = objectives(fit)
    parameters = list(fit.model.encoders.parameters())
    wanted = torch.autograd.grad(sum(losses.values()) / 2, parameters)
    step(method)
    for parameter, expected in zip(parameters, wanted, strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-10, atol=1e-13)
    (learned,) = fit.model.extras.parameters()
    moved = [-0.1 * (1 - loss.item()) / 2 for loss in losses.values()]
    assert learned.tolist() == pytest.approx(moved)
    assert fit.meters.means()["coefficient/audio"] == pytest.approx(0.5)


def test_uncertainty_weighting_is_torchjd_s() -> None:
    theirs = pytest.importorskip("torchjd.scalarization").UW(3)
    ours = Uncertainty(3)
    for rule in (ours, theirs):
        with torch.no_grad():
            next(rule.parameters()).copy_(torch.tensor([0.3, -1.0, 2.0]))
    losses = torch.tensor([0.2, 3.0, 1.0])
    assert ours(losses, 1).item() == pytest.approx(theirs(losses).item())


def test_dynamic_weight_average_by_hand_and_as_torchjd_has_it() -> None:
    theirs = pytest.importorskip("torchjd.scalarization").DWA(2.0)
    ours, weights = WeightAverage(3, 2.0), []
    for epoch, losses in enumerate(LOSSES_OF_EPOCHS, 1):
        for factor in (0.5, 1.5):  # two steps, whose mean is that of the epoch
            given = (factor * losses).requires_grad_()
            value = ours(given, epoch)
            assert value.item() == pytest.approx(theirs(factor * losses).item(), rel=1e-6)
            value.backward()
        assert given.grad is not None
        weights.append(given.grad)
        ours.end_epoch(epoch)
        theirs.step()
    rates = [math.exp(rate / 2) for rate in (1 / 2, 0.9 / 1, 2 / 4)]
    assert weights[0].tolist() == weights[1].tolist() == pytest.approx([1.0, 1.0, 1.0])
    assert weights[2].tolist() == pytest.approx([3 * rate / sum(rates) for rate in rates])


def test_smooth_tchebycheff_by_hand_and_as_torchjd_has_it() -> None:
    scalarization = pytest.importorskip("torchjd.scalarization")
    rule = Tchebycheff(3, 0.5, 2)
    for epoch in (1, 2):
        for factor in (0.5, 1.5):
            given = (factor * LOSSES_OF_EPOCHS[epoch - 1]).requires_grad_()
            rule(given, epoch).backward()
            torch.testing.assert_close(given.grad, 1 / given.detach())  # of the sum of logarithms
        rule.end_epoch(epoch)
    losses, reference = torch.tensor([0.7, 0.6, 3.0]), LOSSES_OF_EPOCHS[1]
    by_hand = 3 * 0.5 * math.log(sum((x / r) ** 2 for x, r in zip(losses.tolist(), reference.tolist(), strict=True)))
    assert rule(losses, 3).item() == pytest.approx(by_hand)
    theirs = scalarization.STCH(0.5, torch.ones(3), reference.log())
    assert rule(losses, 3).item() == pytest.approx(3 * theirs(losses.log()).item(), rel=1e-6)


def test_the_smooth_maximum_lies_between_mean_and_maximum() -> None:
    values = torch.tensor([0.2, 0.5, 1.7], dtype=torch.float64)
    assert smooth_maximum(values, 1e-4).item() == pytest.approx(0.8, abs=1e-3)
    assert smooth_maximum(values, 200.0).item() == pytest.approx(1.7 - math.log(3) / 200)
    by_hand = math.log(sum(math.exp(2 * v) for v in values.tolist()) / 3) / 2
    assert smooth_maximum(values, 2.0).item() == pytest.approx(by_hand)
    assert log_ratios(torch.zeros(2), torch.ones(2)).isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_the_scalarisers_of_torchjd_weigh_the_losses(name: str) -> None:
    pytest.importorskip("torchjd")
    method = Moo(aggregator=name)
    fit = make_fit(method, NAMES[:3], **SGD)
    losses = torch.stack(list(objectives(fit).values()))
    before = torch.get_rng_state()
    step(method)
    assert torch.equal(before, torch.get_rng_state())
    means = fit.meters.means()
    weights = [means["weight/fused"], *(means[f"coefficient/{m}"] for m in NAMES[:3])]
    if name == "rlw":
        assert sum(weights) == pytest.approx(1.0)
    else:
        wanted = losses.log().mean().exp() / (4 * losses) if name == "geometric-mean" else torch.ones(4)
        assert weights == pytest.approx(wanted.tolist())


@pytest.mark.parametrize("name", ["mgda", *PLAIN, "gradvac", "pcgrad"])
def test_a_modality_that_no_sample_of_the_batch_has_is_no_objective_of_its_encoder(name: str) -> None:
    if name != "mgda":
        pytest.importorskip("torchjd")
    method = Moo(aggregator=name)
    part = tiny_split(NAMES[:3])
    part.present = {"video": torch.zeros(24, dtype=torch.bool)}
    fit = make_fit(method, NAMES[:3], data=part, **SGD)
    plain = torch.autograd.grad(objectives(fit)[""], list(fit.model.encoders["video"].parameters()))
    step(method)
    torch.testing.assert_close(gradient(fit, "video"), torch.cat([g.flatten() for g in plain]), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["uw", "dwa", "stch", *LOSSES])
def test_a_loss_that_no_sample_counts_in_stops_no_other(name: str) -> None:
    if name in LOSSES:
        pytest.importorskip("torchjd")
    method = Moo(aggregator=name, warmup=1)
    part = tiny_split(NAMES[:3])
    part.present = {"video": torch.arange(24) < 8}
    fit = make_fit(method, NAMES[:3], data=part, batch_size=8, **SGD)
    for epoch in (1, 2):
        begin_epoch(method)
        for rows in torch.arange(24).split(8):
            make_step(method, fit.train.batch(rows))
            assert gradient(fit, "audio").any()
            assert all(p.isfinite().all() for p in fit.model.parameters()), epoch
        end_epoch(method)
    assert all(math.isfinite(x) for x in fit.meters.means().values())
    assert filled(torch.zeros(2), torch.tensor([False, False])).tolist() == pytest.approx([1e-20, 1e-20])


def always_right(method: Moo) -> tuple[Fit, Batch]:
    """A fit whose own head of the audio is always right in the batch beside it, so that its loss and gradient are 0."""
    fit = make_fit(method, NAMES[:2], **SGD)
    with torch.no_grad():
        fit.model.own_heads["audio"].bias[0] = 1e4
    return fit, fit.train.batch((fit.train.target == 0).nonzero()[:, 0])


# Weights of the fused loss, of L_a = 0 and of L_v in the first epoch: 1/2 each; 1 each; and 1 / L each, of L_a none.
@pytest.mark.parametrize(("name", "weights"), [("uw", (0.5, 0.5, 0.5)), ("dwa", (1, 1, 1)), ("stch", (None, 0, None))])
def test_a_loss_of_zero_is_one_that_is_reached(name: str, weights: tuple[float | None, ...]) -> None:
    method = Moo(aggregator=name)
    fit, batch = always_right(method)
    outputs = fit.model(batch.inputs)
    losses = [fit.task.loss(z, batch.target).item() for z in (outputs.logits, *outputs.own_logits.values())]
    assert losses[1] == 0
    step(method, batch)
    means = fit.meters.means()
    given = [means[key] for key in ("weight/fused", "coefficient/audio", "coefficient/video")]
    wanted = [1 / loss if weight is None else weight for loss, weight in zip(losses, weights, strict=True)]
    assert given == pytest.approx(wanted)


def test_dynamic_weight_average_remembers_a_loss_of_zero_as_zero() -> None:
    method = Moo(aggregator="dwa")
    fit, batch = always_right(method)
    step(method, batch)
    end_epoch(method)
    assert fit.model.get_buffer("extras.scalariser.history.last")[1] == 0


def test_the_shortest_vector_beside_a_gradient_of_zero_is_zero() -> None:
    method = Moo(aggregator="mgda")
    fit, batch = always_right(method)
    step(method, batch)
    assert not gradient(fit, "audio").any()
    assert gradient(fit, "video").any()


@pytest.mark.parametrize("name", [*PLAIN, "gradvac", "pcgrad", *LOSSES])
def test_rules_of_torchjd_take_a_modality_that_is_always_right(name: str) -> None:
    pytest.importorskip("torchjd")
    method = Moo(aggregator=name)
    fit, batch = always_right(method)
    for _ in range(2):
        step(method, batch)
    assert all(p.isfinite().all() for p in fit.model.parameters())
    assert all(math.isfinite(x) for x in fit.meters.means().values())


@pytest.mark.parametrize("name", ["uw", "dwa", "stch", "imtl-l", "rlw", "gradvac", "graddrop", "pcgrad"])
def test_what_a_rule_learns_remembers_and_draws_survives_an_interruption(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torchjd")

    def ready() -> Moo:
        method = Moo(aggregator=name, warmup=1)
        make_fit(method, NAMES[:3], batch_size=8, optimizer__lr=0.1)
        return method

    method, again = train(ready(), 2), ready()
    begin_epoch(method)
    first, *rest = batches(method)
    make_step(method, first)
    write_checkpoint(tmp_path, method.fit, method, None, {})
    read_checkpoint(tmp_path, again.fit, again, None)
    for one in (method, again):
        before = torch.get_rng_state()
        one.fit.model.train()
        for batch in rest:
            one.fit.step += 1
            one.train_step(batch)
        assert torch.equal(before, torch.get_rng_state())
        end_epoch(one)
        train(one)
    states = [one.fit.model.state_dict() for one in (method, again)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("name", [*AGGREGATORS, *LOSSES])
def test_without_the_library_the_built_in_rules_train_and_others_tell_the_remedy(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("torchjd", "torchjd.aggregation", "torchjd.scalarization"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"moo.aggregator={name} needs .*pip install 'mcr-bench\[moo\]'"):
        Moo(aggregator=name)
    for built_in in BUILT_IN:
        method = Moo(aggregator=built_in)
        make_fit(method)
        step(method)


def test_cagrad_tells_what_else_it_needs() -> None:
    pytest.importorskip("torchjd")
    try:
        import cvxpy  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match=r"cvxpy.*'torchjd\[cagrad\]'"):
            Moo(aggregator="cagrad")
    else:
        method = Moo(aggregator="cagrad")
        make_fit(method)
        step(method)


def test_drawn_weights_do_not_depend_on_the_order_of_modalities() -> None:
    pytest.importorskip("torchjd")
    weights = []
    for names in (NAMES[:3], NAMES[:3][::-1]):
        fit = make_fit(method := Moo(aggregator="rlw"), names, data=tiny_split(names), dtype=torch.float64)
        fit.epoch, fit.step = 1, 1
        method.train_step(whole_batch(fit))
        weights.append({key: value for key, value in fit.meters.means().items() if key.startswith("coefficient/")})
    assert weights[0] == pytest.approx(weights[1])
    assert len(set(weights[0].values())) == 3
