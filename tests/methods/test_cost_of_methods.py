"""What a step of a method costs beside joint training, in operations, which no other program's load can change."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.fit.meters import Meters
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, whole_batch
from mcr_bench.methods.agm import Agm
from mcr_bench.methods.base import Method
from mcr_bench.methods.joint import Joint
from mcr_bench.methods.mcr import MCR
from mcr_bench.methods.mlb import Mlb
from mcr_bench.methods.multi_loss import MultiLoss
from mcr_bench.methods.ogm_ge import OgmGe
from mcr_bench.methods.terms.attribution import additive_contributions, contributions
from mcr_bench.methods.terms.modes import evaluation_mode
from mcr_bench.tests.support.runs.operations import Operations

PLAIN_SGD = {"optimizer__name": "sgd", "optimizer__momentum": 0.0}  # a few operations, whatever the parameters


def operations(method: Method, task: Task, count: int) -> Operations:
    """The operations of the second step."""
    make_fit(method, NAMES[:count], task, **PLAIN_SGD)
    step(method)
    with Operations() as made:
        step(method)
    return made


@pytest.mark.parametrize("task", [Task(3), Task(None)], ids=["classes", "scores"])
@pytest.mark.parametrize(
    ("make", "more"),
    [(MultiLoss, 60), (Mlb, 85), (OgmGe, 60), (Agm, 160), (MCR, 250)],
    ids=["multi-loss", "mlb", "ogm-ge", "agm", "mcr"],
)
def test_a_method_dispatches_few_operations_more_than_joint_training(
    make: Callable[[], Method], more: int, task: Task
) -> None:
    plain = operations(Joint(), task, 2).counts.total()
    assert operations(make(), task, 2).counts.total() <= plain + more


def test_more_coalitions_add_few_operations() -> None:
    """Of four modalities there are 14 coalitions; of two, 2."""
    two, four = (operations(MCR(), Task(3), n).counts for n in (2, 4))
    assert four["_log_softmax"] == two["_log_softmax"] + 2  # those of the two further own heads
    assert four["rand"] == 4


def test_terms_of_weight_0_are_not_computed() -> None:
    made = operations(MCR(lambda_con=0.0, lambda_ceb=0.0), Task(3), 2).counts
    assert not made["mse_loss"]
    assert not made["addmm_"]  # the slopes of the contrastive term
    method = MCR(lambda_con=0.0)
    fit = make_fit(method)
    step(method)
    assert {"loss/contrastive", "loss/ceb"} <= fit.meters.means().keys()


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("rows", [1, 24], ids=["one zero sample", "zeros of each length"])
@pytest.mark.parametrize("official", [False, True])
def test_shares_from_the_branches_are_those_from_all_subsets(count: int, rows: int, official: bool) -> None:
    fit = make_fit(Joint(), NAMES[:count], dtype=torch.float64)
    model = fit.model
    whole = {m: f.detach().requires_grad_() for m, f in model.encode(whole_batch(fit).inputs).items()}
    present = {m: f.detach() * 1.3 for m, f in whole.items()} if official else None
    absent = {m: torch.full((rows, model.width), 0.2 * i, dtype=torch.float64) for i, m in enumerate(whole)}
    leaves = [*whole.values(), *model.fusion.parameters()]
    found = []
    for shares in (
        additive_contributions(model, whole, present, absent),
        contributions(model, whole, present or whole, absent, fit.generator()),
    ):
        weights = torch.linspace(-1, 1, shares.numel(), dtype=torch.float64).view_as(shares)
        found.append((shares, torch.autograd.grad((shares * weights).sum(), leaves)))
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-12)


def test_values_logged_together_have_the_means_of_values_logged_alone() -> None:
    together, alone = Meters(), Meters()
    for step_ in range(3):
        values = torch.tensor([0.1, 0.7, 0.2]) * (step_ + 1)
        together.add_each(("a", "b", "b"), values)
        for name, value in zip("abb", values, strict=True):
            alone.add(name, value)
    together.add("c", 2.0)
    alone.add("c", 2.0)
    assert together.means() == pytest.approx(alone.means(), rel=1e-6)
    assert together.means() == {}


class Stubborn(nn.Module):
    """A module that stays in training, and counts how often its mode was set."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[bool] = []
        self.inner = nn.Dropout()

    def train(self, mode: bool = True) -> "Stubborn":
        self.told.append(mode)
        return super().train(mode)


def test_evaluation_mode_tells_modules_that_do_more_than_change_their_mode() -> None:
    module = nn.Sequential(Stubborn(), nn.BatchNorm1d(2))
    with evaluation_mode(module):
        assert module[0].told == [False]
        assert not any(part.training for part in module.modules())
    assert all(part.training for part in module.modules())


def test_evaluation_mode_of_a_scripted_module() -> None:
    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.dropout(x, 0.5, self.training)

    scripted = torch.jit.trace_module(nn.Sequential(nn.Linear(2, 2)), {"forward": torch.ones(1, 2)})
    module = nn.ModuleList([scripted, Noisy()])
    with evaluation_mode(module):
        assert not any(part.training for part in module.modules())
        assert torch.equal(module[1](torch.ones(4)), torch.ones(4))
    assert all(part.training for part in module.modules())
