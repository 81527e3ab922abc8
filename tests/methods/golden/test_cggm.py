"""CGGM of the paper: accuracies by counting, gradients of a last layer in closed form, and what acts in which epoch."""

import copy

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, THREE, make_fit, step, tiny_split
from mcr_bench.bench.testing.trials.epochs import batches, begin_epoch, end_epoch, make_step
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.cggm import Cggm
from mcr_bench.methods.joint import Joint
from mcr_bench.methods.terms.gradients.classifier_guided import pulls, released_slowness, right, slowness

SGD = {"optimizer__name": "sgd", "optimizer__lr": 0.4, "batch_size": 8, "dtype": torch.float64, "clip_norm": 0.0}
TASKS = {"classes": THREE, "score": Task(None), "labels": Task(None, labels=3)}
State = dict[str, Tensor]


def slopes(z: Tensor, y: Tensor, task: Task) -> Tensor:
    """dL / dz (B, C) in closed form."""
    if task.classes is not None:
        return (z.softmax(1) - torch.nn.functional.one_hot(y, z.shape[1])) / len(y)
    if task.labels is not None:
        return (z.sigmoid() - y) / y.numel()
    return (z - y[:, None]).sign() / len(y)


def accuracies(fit: Fit) -> list[float]:
    """The share of the validation samples that each own head gets right; of scores the sign."""
    fit.model.eval()
    found = []
    for m in fit.model.modalities:
        with torch.no_grad():
            z = fit.model.own_heads[m](fit.model.encoders[m](fit.val.values[m], None))
        hits = [
            float(row.argmax() == y)
            if fit.task.classes
            else sum(float((a > 0) == (b > 0)) for a, b in zip(row, y.reshape(-1), strict=True)) / len(row)
            for row, y in zip(z, fit.val.target, strict=True)
        ]
        found.append(sum(hits) / len(hits))
    return found


def bounded(gains: list[float]) -> list[float]:
    total = sum(gains)
    if total < 1e-9:
        return [(len(gains) - 1) / len(gains)] * len(gains)
    return [min(2.0, max(0.0, (total - d) / total)) for d in gains]


def intended(weights: State, batch: Batch, method: Cggm, slow: list[float] | None, fusion: str) -> State:
    """The gradients of one step at these weights. slow: B of every modality; None in the first epoch."""
    names, task = tuple(method.fit.model.modalities), method.fit.task
    fit = make_fit(Joint(), names, task, fusion=fusion, **SGD)
    fit.model.load_state_dict(weights)
    outputs, y = fit.model(batch.inputs), batch.target
    loss, cosines = task.loss(outputs.logits, y), []
    for m, f in outputs.features.items():
        h = fit.model.own_heads[m](f.detach())
        loss = loss + task.loss(h, y)
        own, fused = slopes(h, y, task).T @ f, slopes(outputs.logits, y, task).T @ f
        cosines.append((own.detach() * fused).sum() / (own.detach().norm() * fused.norm()))
    if slow is not None:
        aligned = sum(abs(b) - b * c for b, c in zip(slow, cosines, strict=True)) / len(names)
        loss = loss + method.weight * aligned
    loss.backward()
    k = dict.fromkeys(names, 1.0) if slow is None else {m: method.rho * b for m, b in zip(names, slow, strict=True)}
    return {
        name: p.grad * (k[name.split(".")[1]] if name.startswith("encoders.") else 1.0)
        for name, p in fit.model.named_parameters()
        if p.grad is not None
    }


@pytest.mark.parametrize(
    ("count", "task", "fusion"),
    [
        (2, "classes", "late-linear"),
        (3, "classes", "gated"),
        (4, "classes", "concat-mlp"),
        (2, "score", "gated"),
        (3, "labels", "late-linear"),
    ],
)
def test_every_gradient_of_three_epochs(count: int, task: str, fusion: str) -> None:
    names, method = NAMES[:count], Cggm(rho=1.7, weight=0.6)
    fit = make_fit(method, names, TASKS[task], fusion=fusion, prepare=other_validation, **SGD)
    before, slow, seen = [0.0] * count, None, []
    for _ in range(3):
        begin_epoch(method)
        for batch in batches(method):
            weights = copy.deepcopy(fit.model.state_dict())
            make_step(method, batch)
            expected = intended(weights, batch, method, slow, fusion)
            mine = {name: p.grad for name, p in fit.model.named_parameters() if p.grad is not None}
            assert mine.keys() == expected.keys()
            for name, g in expected.items():
                torch.testing.assert_close(mine[name], g, rtol=1e-8, atol=1e-11)
        end_epoch(method)
        now = accuracies(fit)
        slow, before = bounded([a - b for a, b in zip(now, before, strict=True)]), now
        seen.append(slow)
    assert len({b for row in seen for b in row}) > 1


def other_validation(fit: Fit) -> None:
    drawn = tiny_split(tuple(fit.model.modalities), fit.task, n=30, seed=5)
    drawn.values = {m: x.double() for m, x in drawn.values.items()}
    fit.val = drawn


@pytest.mark.parametrize("count", [2, 3])
def test_under_a_linear_head_the_pull_is_the_gradient_of_its_slice(count: int) -> None:
    fit = make_fit(Joint(), NAMES[:count], **SGD)
    batch = fit.train.batch(torch.arange(24))
    outputs = fit.model(batch.inputs)
    for m, f in outputs.features.items():
        found = pulls(outputs.logits, f, batch.target, THREE)
        loss = THREE.loss(outputs.logits, batch.target)
        (expected,) = torch.autograd.grad(loss, [fit.model.fusion.slices[m].weight], retain_graph=True)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)


def test_slowness_by_hand() -> None:
    # (.6 - .1) / .6 and so on; a loss counts as the most; of gains that cancel nothing is known
    assert slowness(torch.tensor([0.1, 0.2, 0.3])).tolist() == pytest.approx([5 / 6, 4 / 6, 3 / 6])
    assert slowness(torch.tensor([0.4, -0.3])).tolist() == [0.0, 2.0]
    assert slowness(torch.tensor([0.7 - 0.5, 0.3 - 0.5])).tolist() == [0.5, 0.5]
    assert slowness(torch.tensor([0.02, -0.03])).tolist() == [0.5, 0.5]  # in sum they have lost
    assert slowness(torch.tensor([-0.03, -0.01])).tolist() == [0.5, 0.5]
    assert slowness(torch.zeros(3)).tolist() == pytest.approx([2 / 3] * 3)
    assert released_slowness(torch.tensor([0.4, -0.3], dtype=torch.float64)).tolist() == pytest.approx([-3.0, 4.0])


def test_right_counts_classes_labels_and_signs() -> None:
    assert right(torch.tensor([[0.1, 0.3], [0.4, 0.2]]), torch.tensor([1, 1]), Task(2)).tolist() == [1.0, 0.0]
    labels = right(torch.tensor([[1.0, -1.0]]), torch.tensor([[1, 1]]), Task(None, labels=2))
    assert labels.tolist() == [0.5]
    assert right(torch.tensor([[0.2], [-0.1], [0.0]]), torch.tensor([2.0, 0.5, -1.0]), Task(None)).tolist() == [1, 0, 1]


def test_own_heads_have_a_rate_of_their_own() -> None:
    fit = make_fit(method := Cggm(head_rate=0.25), **SGD)
    rates = {id(p): group["lr"] for group in fit.optimizer.param_groups for p in group["params"]}
    for name, p in fit.model.named_parameters():
        assert rates[id(p)] == (0.1 if name.startswith("own_heads.") else 0.4), name
    step(method)
    assert all(p.grad is not None for p in fit.model.own_heads.parameters())


def test_a_modality_without_validation_samples_keeps_its_accuracy() -> None:
    method = Cggm()
    fit = make_fit(method, **SGD)
    fit.val.present = {NAMES[0]: torch.zeros(24, dtype=torch.bool)}
    end_epoch(method)
    assert method.state_dict()["accuracy"][0] == 0
    assert method.state_dict()["slow"][0] == 1  # no gain of its own: (d - 0) / d


def test_the_released_rule_needs_slices_to_compare() -> None:
    with pytest.raises(UserError, match="needs a linear fusion head"):
        make_fit(Cggm(variant="official"), fusion="concat-mlp")
