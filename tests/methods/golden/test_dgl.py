"""DGL by separate backward passes on zero-filled features, for several heads, tasks and numbers of modalities."""

import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.models.multimodal import MultimodalModel
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, whole_batch
from mcr_bench.methods.dgl import DGL
from mcr_bench.methods.terms.features.alone import each_alone, logits_alone

DOUBLE = {"dtype": torch.float64, "optimizer__name": "sgd"}
TASKS = {"classes": Task(3), "score": Task(None), "labels": Task(None, labels=3), "scores": Task(None, scores=2)}


def plain_loss(logits: Tensor, target: Tensor, task: Task) -> Tensor:
    if task.classes is not None:
        return -logits.log_softmax(1)[torch.arange(len(target)), target].mean()
    if task.labels is not None:
        p = logits.sigmoid()
        return -(target * p.log() + (1 - target) * (1 - p).log()).mean()
    return (logits.reshape(target.shape) - target).abs().mean()


def separate(model: MultimodalModel, inputs: object, target: Tensor, task: Task, alpha: float) -> dict[str, Tensor]:
    """The gradients of the two losses, each for its own parameters, one modality after the other."""
    features = model.encode(inputs)
    fused = plain_loss(model.fusion({m: f.detach() for m, f in features.items()}).logits, target, task)
    alone = torch.zeros((), dtype=torch.float64)
    for m in features:
        filled = {n: f if n == m else torch.zeros_like(f) for n, f in features.items()}
        alone = alone + alpha * plain_loss(model.fusion(filled).logits, target, task)
    found = {}
    for room, loss in (("encoders.", alone), ("fusion.", fused)):
        named = {n: p for n, p in model.named_parameters() if n.startswith(room)}
        grads = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
        found |= {n: g for n, g in zip(named, grads, strict=True) if g is not None}
    return found


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize(("count", "fusion"), [(2, "gated"), (3, "late-linear"), (4, "concat-mlp")])
def test_each_set_of_parameters_has_the_gradient_of_its_own_loss(count: int, fusion: str, task: Task) -> None:
    method = DGL(alpha=2.5)
    fit = make_fit(method, NAMES[:count], task, fusion=fusion, **DOUBLE)
    batch = whole_batch(fit)
    expected = separate(fit.model, batch.inputs, batch.target, task, 2.5)
    step(method)
    mine = {n: p.grad for n, p in fit.model.named_parameters() if p.grad is not None}
    assert mine.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(mine[name], gradient, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3])
def test_on_a_sum_of_linear_heads_the_encoders_train_as_if_alone(count: int) -> None:
    """Each through its own fixed slice and the whole bias, not b / M."""
    method = DGL(alpha=1.0)
    fit = make_fit(method, NAMES[:count], **DOUBLE)
    batch, model = whole_batch(fit), fit.model
    expected = {}
    for m, f in model.encode(batch.inputs).items():
        z = f @ model.fusion.slices[m].weight.detach().T + model.fusion.bias.detach()
        parameters = list(model.encoders[m].parameters())
        grads = torch.autograd.grad(plain_loss(z, batch.target, Task(3)), parameters)
        expected |= {id(p): g for p, g in zip(parameters, grads, strict=True)}
    step(method)
    for p in model.encoders.parameters():
        torch.testing.assert_close(p.grad, expected[id(p)], rtol=1e-9, atol=1e-14)


def test_one_pass_of_the_head_gives_what_separate_ones_give() -> None:
    fit = make_fit(DGL(), NAMES[:3], fusion="concat-mlp", **DOUBLE)
    features = fit.model.encode(whole_batch(fit).inputs)
    for m, logits in logits_alone(fit.model, features).items():
        filled = {n: f if n == m else torch.zeros_like(f) for n, f in features.items()}
        torch.testing.assert_close(logits, fit.model.fusion(filled).logits, rtol=1e-10, atol=1e-12)
    assert {m: f.shape[0] for m, f in each_alone(features).items()} == dict.fromkeys(NAMES[:3], 72)


def test_zeros_do_not_enter_the_statistics_of_a_head() -> None:
    method = DGL()
    fit = make_fit(method, **DOUBLE)
    norm = nn.BatchNorm1d(6).double()
    fit.model.fusion.slices["audio"] = nn.Sequential(norm, nn.Linear(6, 3).double())
    with torch.no_grad():
        audio = fit.model.encode(whole_batch(fit).inputs)["audio"]
    step(method)
    assert norm.num_batches_tracked == 1
    torch.testing.assert_close(norm.running_mean, 0.1 * audio.mean(0))


def test_frozen_encoders_leave_the_fused_loss() -> None:
    method = DGL()
    fit = make_fit(method, **DOUBLE)
    fit.model.encoders.requires_grad_(False)
    step(method)
    assert all(p.grad is not None for p in fit.model.fusion.parameters())
