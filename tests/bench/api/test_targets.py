"""Targets of one's own loop: taken in the shape and type of the task, refused with the remedy otherwise."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mcr_bench
from mcr_bench.bench.api.balancer import Balancer
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.task import Task

ROWS = 6


class Net(nn.Module):
    def __init__(self, outputs: int, over_time: bool = False) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({m: nn.Linear(5, 4) for m in ("audio", "video")})
        self.head, self.over_time = nn.Linear(8, outputs), over_time

    def forward(self, x: Tensor) -> Tensor:
        features = [encoder(x[:, None] if self.over_time else x) for encoder in self.encoders.values()]
        logits: Tensor = self.head(torch.cat([f.reshape(len(x), -1) for f in features], -1))
        return logits


def loss_of(target: object, task: Task | int | None, outputs: int, method: str = "joint") -> tuple[float, Tensor]:
    """The loss of a Balancer's step, and the logits."""
    torch.manual_seed(0)
    net = Net(outputs)
    balance = Balancer(method, encoders=dict(net.encoders), fusion=net.head, task=task)
    logits = net(torch.randn(ROWS, 5))
    return float(balance.backward(logits, target)), logits.detach()  # type: ignore[arg-type]


CLASSES = torch.arange(ROWS) % 3
SCORES = torch.linspace(-1, 1, ROWS)
LABELS = torch.stack([CLASSES == 0, CLASSES == 1], 1).float()


@pytest.mark.parametrize("method", ["joint", "ogm", "multi-loss"])
def test_targets_of_every_task_are_taken(method: str) -> None:
    loss, logits = loss_of(CLASSES, None, 3, "joint")
    assert loss == pytest.approx(float(F.cross_entropy(logits, CLASSES)))
    loss, logits = loss_of(SCORES, Task(None), 1, "joint")
    assert loss == pytest.approx(float((logits[:, 0] - SCORES).abs().mean()))
    for target, task, outputs in ((CLASSES, 3, 3), (SCORES, Task(None), 1), (LABELS, Task(None, labels=2), 2)):
        assert loss_of(target, task, outputs, method)[0] > 0
    both = torch.stack([SCORES, -SCORES], 1)
    assert loss_of(both, Task(None, scores=2), 2)[0] > 0
    assert loss_of(LABELS.long(), Task(None, labels=2), 2)[0] > 0
    assert loss_of(LABELS[:, :1], Task(None, labels=1), 1)[0] > 0


@pytest.mark.parametrize(
    ("target", "task", "outputs", "told"),
    [
        (SCORES[:, None], Task(None), 1, r"shape \(6, 1\) and type float32, not scores \(B,\).*Give target\.squeeze"),
        (CLASSES, Task(None), 1, r"type int64, not scores \(B,\) in floats. Give target\.float"),
        (SCORES, Task(None, scores=2), 2, r"not scores \(B, 2\) in floats"),
        (LABELS, Task(None, scores=3), 3, r"not scores \(B, 3\) in floats. Give a column for each output"),
        (SCORES, Task(None, scores=3), 3, r"Give a column for each output\.$"),
        (SCORES[:, None], Task(None, scores=3), 3, r"Give a column for each output\.$"),
        (torch.ones(ROWS, 3).long(), Task(None, scores=3), 3, r"Give target\.float\(\)\.$"),
        (LABELS[:, 0], Task(None, labels=1), 1, r"not labels \(B, 1\) of 0 and 1. Give target\[:, None\]\.$"),
        (5 * LABELS, Task(None, labels=2), 2, r"hold other values than 0 and 1"),
        (LABELS, Task(None), 1, r"Give one number for each sample\.$"),
        (CLASSES.int(), 3, 3, r"type int32, not classes \(B,\) in int64. Give target\.long"),
        (CLASSES.float(), 3, 3, r"Give target\.long"),
        (CLASSES[:, None], 3, 3, r"Give target\.squeeze\(1\)"),
        (F.one_hot(CLASSES).float(), 3, 3, r"Give target\.argmax\(1\)"),
        (CLASSES + 5, 3, 3, r"go from 5 to 7, but there are 3 classes. Number them from 0 to 2"),
        (CLASSES * 0 - 100, 3, 3, r"go from -100 to -100"),
        (CLASSES, Task(None, labels=2), 2, r"not labels \(B, 2\) of 0 and 1. Give a column for each output"),
        (CLASSES.tolist(), 3, 3, r"are a list, not a tensor. Give torch\.as_tensor"),
        (CLASSES.numpy(), 3, 3, r"are a ndarray, not a tensor"),
    ],
)
def test_other_targets_are_refused_with_the_remedy(target: object, task: Task | int, outputs: int, told: str) -> None:
    with pytest.raises(UserError, match=told):
        loss_of(target, task, outputs)


@pytest.mark.parametrize("task", [None, 1, Task(1)])
def test_one_output_is_no_classifier(task: Task | int | None) -> None:
    with pytest.raises(UserError, match=r"one class, of which nothing can be learned.*Task\(None\) for a score"):
        loss_of(SCORES, task, 1)
    assert mcr_bench.Task is Task


def test_features_over_time_are_refused_where_the_fusion_takes_rows() -> None:
    net = Net(3, over_time=True)
    balance = Balancer("ogm", encoders=dict(net.encoders), fusion=net.head)
    with pytest.raises(UserError, match=r"features \(6, 1, 4\), not \(B, 4\). Let it end with"):
        balance.backward(net(torch.randn(ROWS, 5)), CLASSES)
