"""MIMO-style: gradients as sums of separate ones with weights by hand, its two ends, and what it remembers."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, whole_batch
from mcr_bench.bench.testing.trials.epochs import batches, begin_epoch, end_epoch, make_step, train
from mcr_bench.bench.training.checkpoints import read_checkpoint, write_checkpoint
from mcr_bench.methods.mimo_style import MimoStyle
from mcr_bench.methods.multi_loss import MultiLoss
from mcr_bench.methods.terms.objectives.scalarisers import Tchebycheff, log_ratios, smooth_maximum

SGD = {"optimizer__name": "sgd", "dtype": torch.float64}
Gradients = list[Tensor]


def separate(fit: Fit) -> tuple[Gradients, dict[str, tuple[float, Gradients]]]:
    """The gradients of L, and of every modality L_m and its gradients, each from a backward pass of its own."""
    batch = whole_batch(fit)
    outputs = fit.model(batch.inputs)
    parameters = list(fit.model.parameters())

    def of(logits: Tensor) -> tuple[float, Gradients]:
        loss = fit.task.loss(logits, batch.target)
        found = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
        return loss.item(), list(found)

    return of(outputs.logits)[1], {m: of(logits) for m, logits in outputs.own_logits.items()}


def require(fit: Fit, fused: Gradients, own: dict[str, tuple[float, Gradients]], weights: dict[str, float]) -> None:
    """The model has the gradients of L plus those of every L_m times its weight."""
    for i, parameter in enumerate(fit.model.parameters()):
        wanted = fused[i] + sum(weights[m] * own[m][1][i] for m in own)
        torch.testing.assert_close(parameter.grad, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("task", [Task(3), Task(None), Task(None, labels=3)], ids=["classes", "score", "labels"])
def test_each_unimodal_loss_weighs_by_how_bad_it_is(task: Task, count: int) -> None:
    method = MimoStyle(lambda_own=0.7, mu=3.0)
    fit = make_fit(method, NAMES[:count], task, **SGD)
    fused, own = separate(fit)
    step(method)
    total = sum(math.exp(3 * loss) for loss, _ in own.values())
    shares = {m: math.exp(3 * loss) / total for m, (loss, _) in own.items()}
    require(fit, fused, own, {m: 0.7 * share for m, share in shares.items()})
    means = fit.meters.means()
    assert {m: means[f"coefficient/{m}"] for m in own} == pytest.approx(shares)
    worst = math.log(total / count) / 3
    assert means["loss/worst"] == pytest.approx(0.7 * worst)


@pytest.mark.parametrize("mu", [1e-3, 1e5])
def test_its_two_ends_are_multi_loss_and_the_worst_loss_alone(mu: float) -> None:
    method = MimoStyle(lambda_own=3.0, mu=mu)
    fit = make_fit(method, NAMES[:3], **SGD)
    _, own = separate(fit)
    worst = max(own, key=lambda m: own[m][0])
    step(method)
    plain = MultiLoss()
    other = make_fit(plain, NAMES[:3], **SGD)
    step(plain)
    for m in own:
        factor = 1.0 if mu < 1 else 3.0 * (m == worst)
        for mine, theirs in zip(
            fit.model.own_heads[m].parameters(), other.model.own_heads[m].parameters(), strict=True
        ):
            torch.testing.assert_close(mine.grad, factor * theirs.grad, rtol=2e-3, atol=1e-9)


def test_a_modality_that_is_always_right_leaves_the_weight_to_the_others() -> None:
    """Its loss is 0, not unknown: with L = (0, L_v) the share of v is exp(mu L_v) / (1 + exp(mu L_v))."""
    method = MimoStyle(lambda_own=1.0, mu=3.0)
    fit = make_fit(method, NAMES[:2], **SGD)
    with torch.no_grad():
        fit.model.own_heads["audio"].bias[0] = 1e4
    batch = fit.train.batch((fit.train.target == 0).nonzero()[:, 0])
    outputs = fit.model(batch.inputs)
    losses = [fit.task.loss(z, batch.target).item() for z in outputs.own_logits.values()]
    assert losses[0] == 0
    assert losses[1] > 0.1
    step(method, batch)
    grown = math.exp(3 * losses[1])
    means = fit.meters.means()
    assert means["coefficient/video"] == pytest.approx(grown / (1 + grown))
    assert means["loss/worst"] == pytest.approx(math.log((1 + grown) / 2) / 3)


def test_log_ratios_by_hand() -> None:
    method = MimoStyle(lambda_own=2.0, mu=4.0, normalise="log-ratio")
    fit = make_fit(method, NAMES[:3], optimizer__lr=0.1, **SGD)
    fused, own = separate(fit)
    reference = {m: loss for m, (loss, _) in own.items()}
    begin_epoch(method)
    step(method)
    require(fit, fused, own, {m: 2 / 3 / loss for m, loss in reference.items()})
    end_epoch(method)
    begin_epoch(method)
    fused, own = separate(fit)
    step(method)
    powers = {m: (loss / reference[m]) ** 4 for m, (loss, _) in own.items()}
    total = sum(powers.values())
    require(fit, fused, own, {m: 2 * powers[m] / total / loss for m, (loss, _) in own.items()})


def test_log_ratios_are_the_rule_of_smooth_tchebycheff() -> None:
    """Up to its factor K and a constant: the same gradient, with mu the inverse of its mu."""
    rule = Tchebycheff(3, 0.25, 1)
    rule(torch.tensor([1.0, 2.0, 0.5]), 1)
    rule.end_epoch(1)
    slopes = []
    for term in (
        lambda losses: rule(losses, 2),
        lambda losses: 3 * smooth_maximum(log_ratios(losses, torch.tensor([1.0, 2.0, 0.5])), 4.0),
    ):
        losses = torch.tensor([0.9, 1.0, 0.1], requires_grad=True)
        term(losses).backward()
        slopes.append(losses.grad)
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize("epochs", [0, 1])
def test_the_losses_of_the_first_epoch_survive_an_interruption(epochs: int, tmp_path: Path) -> None:
    def ready() -> MimoStyle:
        method = MimoStyle(normalise="log-ratio")
        make_fit(method, batch_size=8, optimizer__lr=0.1)
        return method

    method, again = train(ready(), epochs), ready()
    begin_epoch(method)
    first, *rest = batches(method)
    make_step(method, first)
    write_checkpoint(tmp_path, method.fit, method, None, {})
    read_checkpoint(tmp_path, again.fit, again, None)
    for one in (method, again):
        one.fit.model.train()
        for batch in rest:
            make_step(one, batch)
        end_epoch(one)
        train(one)
    states = [one.fit.model.state_dict() for one in (method, again)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
