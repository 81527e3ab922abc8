"""MMPareto against a search for the shortest vector, and against separate backward passes combined in plain NumPy."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, whole_batch
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.mmpareto import MMPareto, pareto_share
from mcr_bench.methods.multi_loss import MultiLoss

SGD = {"optimizer__name": "sgd", "dtype": torch.float64}


def against(fit: Fit, modality: str) -> None:
    """Turn the own head of a modality against the fusion head, so that the gradients of its encoder conflict."""
    with torch.no_grad():
        fit.model.own_heads[modality].weight.copy_(-fit.model.fusion.slices[modality].weight)


@pytest.mark.parametrize("cosine", [-1.0, -0.7, -0.2, 0.0])
@pytest.mark.parametrize("lengths", [(1.0, 1.0), (0.3, 2.0), (5.0, 0.1)])
def test_of_conflicting_gradients_the_shortest_vector_between_them(cosine: float, lengths: tuple[float, float]) -> None:
    one = lengths[0] * torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    other = lengths[1] * torch.tensor([cosine, (1 - cosine**2) ** 0.5, 0.0], dtype=torch.float64)
    grid = np.linspace(0, 1, 100_001)
    norms = np.linalg.norm(grid[:, None] * one.numpy() + (1 - grid[:, None]) * other.numpy(), axis=1)
    assert pareto_share(one, other).item() == pytest.approx(grid[norms.argmin()], abs=1e-5)


def test_the_share_by_hand() -> None:
    one, other, zero = torch.tensor([2.0, 0.0]), torch.tensor([1.0, 1.0]), torch.zeros(2)
    assert pareto_share(one, other).item() == 0.5  # no conflict, though the shortest one is `other`
    assert pareto_share(one, -other).item() == pytest.approx((2 + 2) / (4 + 2 + 4))
    assert pareto_share(zero, one).item() == pytest.approx(0.999)
    assert pareto_share(one, zero).item() == pytest.approx(0.001)


def expected(fit: Fit, gamma: float) -> dict[str, Tensor]:
    """The gradient of every parameter from one backward pass for each of the M + 1 losses, on all training samples."""
    batch, task, model = whole_batch(fit), fit.task, fit.model
    outputs = model(batch.inputs)
    parameters = dict(model.named_parameters())
    fused = _gradients(task.loss(outputs.logits, batch.target), parameters)
    own = {m: _gradients(task.loss(z, batch.target), parameters) for m, z in outputs.own_logits.items()}
    plain = {name: fused[name] + sum(of[name] for of in own.values()) for name in parameters}
    for m, of in own.items():
        inside = [name for name in parameters if name.startswith(f"encoders.{m}.")]
        zero, one = (np.concatenate([x[name].ravel() for name in inside]) for x in (fused, of))
        share = 0.5 if zero @ one > 0 else (one @ one - zero @ one) / ((zero - one) @ (zero - one))
        for name in inside:
            mixed = 2 * share * fused[name] + 2 * (1 - share) * of[name]
            ratio = np.linalg.norm(fused[name] + of[name]) / np.linalg.norm(mixed)
            plain[name] = gamma * max(1.0, ratio) * mixed
    return {name: torch.from_numpy(x) for name, x in plain.items()}


def _gradients(loss: Tensor, parameters: dict[str, nn.Parameter]) -> dict[str, np.ndarray]:
    found = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True, materialize_grads=True)
    return {name: g.numpy().copy() for name, g in zip(parameters, found, strict=True)}


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("task", [Task(3), Task(None), Task(None, labels=3)], ids=["classes", "score", "labels"])
def test_a_step_has_the_gradients_of_separate_passes(count: int, task: Task) -> None:
    method = MMPareto(gamma=0.8)
    fit = make_fit(method, NAMES[:count], task, prepare=partial(against, modality="audio"), **SGD)
    wanted = expected(fit, 0.8)
    step(method)
    assert fit.meters.means()["share/audio"] != 0.5  # in conflict
    for name, parameter in fit.model.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-9, atol=1e-12)


def test_without_conflict_it_is_multi_loss_with_larger_gradients_of_encoders() -> None:
    found = []
    for method in (MMPareto(gamma=2.0), MultiLoss()):
        fit = make_fit(method, NAMES[:3], **SGD)
        for m in NAMES[:3]:
            with torch.no_grad():
                fit.model.own_heads[m].weight.copy_(fit.model.fusion.slices[m].weight)
        step(method)
        found.append({name: p.grad for name, p in fit.model.named_parameters()})
    for name, gradient in found[1].items():
        factor = 2.0 if name.startswith("encoders.") else 1.0
        torch.testing.assert_close(found[0][name], factor * gradient, rtol=1e-12, atol=0)


def test_opposite_gradients_leave_the_encoder_where_it_is() -> None:
    class Opposite(MMPareto):
        """The own losses are the negative of the fused one, as far as encoders are concerned."""

        def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
            fused = super().loss(outputs, batch)["fused"]
            return {"fused": fused, "own/all": -fused}

    method = Opposite()
    fit = make_fit(method, **SGD)
    step(method)
    assert all(not p.grad.any() for p in fit.model.encoders.parameters())


def test_a_frozen_encoder_has_no_gradient_and_changes_no_other() -> None:
    method = MMPareto()
    fit = make_fit(method, NAMES[:3], **SGD)
    wanted = expected(fit, 1.5)
    fit.model.encoders["video"].requires_grad_(False)
    step(method)
    for name, parameter in fit.model.named_parameters():
        if name.startswith("encoders.video."):
            assert parameter.grad is None
        else:
            torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-9, atol=1e-12)


def test_where_every_encoder_is_frozen_it_says_that_it_would_do_nothing() -> None:
    method = MMPareto()
    fit = make_fit(method)
    fit.model.encoders.requires_grad_(False)
    with pytest.raises(UserError, match="mmpareto has no gradient of an encoder"):
        step(method)


@pytest.mark.parametrize("count", [2, 5])
def test_two_backward_passes_whatever_the_number_of_modalities(count: int) -> None:
    method = MMPareto()
    fit = make_fit(method, NAMES[:count])
    passes: list[str] = []
    for m, encoder in fit.model.encoders.items():
        encoder.register_forward_hook(
            lambda _module, _inputs, features, m=m: features.register_hook(lambda _gradient: passes.append(m)) and None
        )
    step(method)
    assert sorted(passes) == sorted(2 * NAMES[:count])
