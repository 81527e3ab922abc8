"""Methods whose own heads learn what is true of their modality alone compare these heads with that truth everywhere."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import make_fit, tiny_split, whole_batch
from mcr_bench.datasets.base import Split, Truth
from mcr_bench.methods.bogc_style import BogcStyle
from mcr_bench.methods.cggm import Cggm
from mcr_bench.methods.qmf import Qmf
from mcr_bench.methods.synib import SynIB

SCORE, CLASSES = Task(None), Task(3)
TWO = ("audio", "video")


def truthful(task: Task, n: int) -> Split:
    """A part whose video shows another score than the sample's, its negative, or another class, the next one."""
    split = tiny_split(TWO, task, n)
    return replace(split, own={"video": Truth(-split.target if task.regression else (split.target + 1) % 3)})


def cost(task: Task, logits: Tensor, target: Tensor) -> Tensor:
    """The loss () of a task, from its definition."""
    if task.regression:
        return (logits[:, 0] - target).abs().mean()
    return functional.cross_entropy(logits, target)


@pytest.mark.parametrize("task", [SCORE, CLASSES])
def test_bogc_style_weighs_gradients_towards_the_own_truth(task: Task) -> None:
    """Without a spread it is multi-loss, whose gradients are computed here from the definition of the loss."""
    method = BogcStyle(spread=0.0)
    fit = make_fit(method, TWO, task, dtype=torch.float64, data=truthful(task, 8))
    batch, model = whole_batch(fit), fit.model
    method.backward(method.loss(method.forward(batch), batch))
    parameters = [*model.encoders.parameters(), *model.own_heads.parameters()]
    made = [p.grad for p in parameters]
    f = model.encode(batch.inputs)
    truths = {"audio": batch.target, "video": -batch.target if task.regression else (batch.target + 1) % 3}
    own = [cost(task, model.own_heads[m](f[m]), y) for m, y in truths.items()]
    loss = cost(task, model.fuse(f).logits, batch.target) + own[0] + own[1]
    torch.testing.assert_close(made, list(torch.autograd.grad(loss, parameters)), rtol=1e-9, atol=1e-12)


def test_released_cggm_measures_heads_by_the_own_truth() -> None:
    """Scores are -2 -1 0 1 2 -2 -1 0: audio, which says 1, is right on 2 of 8; video, which says -1, on 4 (of -y)."""
    method = Cggm(variant="official", rho=1.0)
    fit = make_fit(method, TWO, SCORE, data=truthful(SCORE, 8))
    with torch.no_grad():
        for m, says in (("audio", 1.0), ("video", -1.0)):
            fit.model.own_heads[m].get_parameter("weight").zero_()
            fit.model.own_heads[m].get_parameter("bias").fill_(says)
    batch = whole_batch(fit)
    made = method.coefficients(method.forward(batch), batch)  # (4/8, 2/8) / (6/8)
    torch.testing.assert_close(made, torch.tensor([2 / 3, 1 / 3]))


def test_qmf_counts_the_losses_of_the_own_truth() -> None:
    method = Qmf()
    fit = make_fit(method, TWO, CLASSES, data=truthful(CLASSES, 6))
    batch = whole_batch(fit)
    outputs = method.forward(batch)
    method.loss(outputs, batch)
    p = outputs.own_logits["video"].detach().softmax(1)
    wanted = torch.stack([-p[i, (int(y) + 1) % 3].log() for i, y in enumerate(batch.target)])
    torch.testing.assert_close(method.state_dict()["sums"][1], wanted)


def test_synib_learns_what_destroys_the_prediction_of_the_own_truth() -> None:
    """The gate is that of data on which the own truth is the target of all."""
    method = SynIB(destroy="learned", fill="zeros")
    fit = make_fit(method, TWO, CLASSES, data=truthful(CLASSES, 6))
    batch = whole_batch(fit)
    outputs = method.forward(batch)
    as_target = replace(batch, target=batch.own["video"], own={})
    made, wanted, other = (
        method.destroyed(outputs, "video", one) for one in (batch, as_target, replace(batch, own={}))
    )
    torch.testing.assert_close(made, wanted)
    assert not torch.allclose(made, other)
