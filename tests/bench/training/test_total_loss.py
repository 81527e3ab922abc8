"""`monitor=total_loss`: the loss with the own heads beside it, by hand, for every method, and as what selects."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.evaluated import Evaluation
from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.problem.metrics import higher_is_better
from mcr_bench.bench.runs.events import EpochDone, Event, Job, RunDone
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit
from mcr_bench.bench.training.evaluation import better, evaluate
from mcr_bench.bench.training.loop import fit_run
from mcr_bench.bench.training.probes import Probes
from mcr_bench.datasets.base import Split
from mcr_bench.methods.base import Method, Needs

SMALL = {"epochs": ["6"], "patience": ["0"], "batch_size": ["16"], "encoder.width": ["8"], "model.width": ["6"]}
OWN_HEADS = [name for name in registry.method_names() if registry.method(name).needs.own_heads]
# Methods whose objective is that of `total_loss` up to a factor that is 1 here, or in a limit, have a setting for it.
TRAINED_WITH = {
    "lfm": {"start": 0.5},
    "mimo-style": {"mu": 0.01, "lambda_own": 0.25},
    "mcr": {"lambda_uni": 0.25},
    "midas": {"warmup": 0},
    "multi-loss": {"weight": 0.25},
    "remix": {"warmup_weight": 0.25, "gamma": 0.25},
    "uni-pre-multi-loss": {"weight": 0.25},
}
PREDICTS_MORE = {"bss"}  # the loss of what these predict is no term of what they train on
SUPERVISED = ("fused", "unimodal", "worst")
OTHER_LOGITS = {"di-mml", "iprm", "predictive-dynamic-fusion"}  # these predict other logits than they train
FACTOR = {"gradient-blending": 3}  # its weights sum to 1 over three losses, and are equal at first


def evaluated(method: Method, task: Task, target: Tensor, fused: Tensor, own: dict[str, Tensor]) -> Evaluation:
    """An evaluation of outputs that are given instead of made by the model."""
    fit = make_fit(method, tuple(own), task)
    parts = Outputs(fit.model, own, fused, None)
    vars(parts)["own_logits"] = own  # in the place of what the own heads would make of the features
    method.predict = lambda *_: parts  # type: ignore[method-assign]
    values = {m: torch.zeros(len(target), 5) for m in own}
    split = Split(values, target, [f"s{i}" for i in range(len(target))], ["g"] * len(target))
    return evaluate(method, fit.model, split, None, len(target))


def column(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


@pytest.mark.parametrize(("weight", "total"), [(0.0, 0.875), (0.1, 1.1), (1.0, 3.125)])
@pytest.mark.parametrize(("name", "setting"), [("mcr", "lambda_uni"), ("multi-loss", "weight")])
def test_regression_by_hand(name: str, setting: str, weight: float, total: float) -> None:
    """Fused (.5 + 1 + 1 + 1) / 4 = .875; own heads (0 + 2 + 0 + 3) / 4 = 1.25 and (1 + 0 + 1 + 2) / 4 = 1."""
    target = torch.tensor([1.0, -2.0, 0.0, 3.0])
    own = {NAMES[0]: column(1, 0, 0, 0), NAMES[1]: column(2, -2, 1, 5)}
    method = registry.method(name)(**{setting: weight})
    found = evaluated(method, Task(None), target, column(0.5, -1, 1, 2), own).metrics
    assert found["loss"] == pytest.approx(0.875)
    assert found["total_loss"] == pytest.approx(total)


def test_classification_by_hand() -> None:
    """Equal logits of two classes cost ln 2; a logit lead of ln 3 costs ln 4/3 where right, ln 4 where wrong."""
    lead = math.log(3)
    own = {NAMES[0]: torch.tensor([[lead, 0.0], [lead, 0.0]]), NAMES[1]: torch.zeros(2, 2)}
    method = registry.method("mcr")(lambda_uni=0.5)
    found = evaluated(method, Task(2), torch.tensor([0, 1]), torch.zeros(2, 2), own).metrics
    expected = math.log(2) + 0.5 * ((math.log(4 / 3) + math.log(4)) / 2 + math.log(2))
    assert found["total_loss"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("task", [Task(3), Task(None)], ids=["classification", "regression"])
@pytest.mark.parametrize("name", OWN_HEADS)
def test_it_holds_what_training_descends_on(name: str, task: Task) -> None:
    """It is the sum of the supervised terms of the loss: where the own head is the prediction, it counts once."""
    method = registry.method(name)(**TRAINED_WITH.get(name, {}))
    modalities = NAMES[:1] if name == "unimodal" else NAMES[:2]
    if reason := method.needs.unmet(len(modalities), task) or (name in PREDICTS_MORE and method.predicts_otherwise):
        pytest.skip(reason)
    if name in OTHER_LOGITS:
        pytest.skip(method.predicts_otherwise)
    started = [make_fit(registry.method("unimodal")(), (m,), task).model.state_dict() for m in modalities]
    fit = make_fit(method, modalities, task, dependencies=started)
    fit.model.eval()
    found = evaluate(method, fit.model, fit.val, None, 7).metrics
    batch = fit.val.batch(torch.arange(len(fit.val)))
    with torch.no_grad():
        terms = method.loss(method.forward(batch), batch) if method.trains else {"fused": torch.tensor(found["loss"])}
    supervised = [float(term) for key, term in terms.items() if key in SUPERVISED or key.startswith("own/")]
    near = 1e-3 if name == "mimo-style" else 1e-5  # a smooth maximum is a mean in the limit alone
    assert found["total_loss"] == pytest.approx(FACTOR.get(name, 1) * sum(supervised), abs=near)


def test_a_method_of_ones_own_counts_its_heads_once() -> None:
    class Mine(Method):
        name, needs = "mine", Needs(own_heads=True)

    own = {NAMES[0]: column(3, 3), NAMES[1]: column(0, 1)}
    found = evaluated(Mine(), Task(None), torch.zeros(2), column(1, -1), own).metrics
    assert found["total_loss"] == pytest.approx(1 + 3 + 0.5)


def test_probe_heads_do_not_count() -> None:
    fit = make_fit(method := registry.method("joint")())
    assert "total_loss" not in evaluate(method, fit.model, fit.val, Probes(fit.model, fit.device), 10).metrics


@pytest.mark.parametrize("task", [Task(3), Task(None)], ids=["classification", "regression"])
def test_lower_is_better(task: Task) -> None:
    assert not higher_is_better("total_loss", task)
    assert better({"total_loss": 0.4, "loss": 9.0}, {"total_loss": 0.5, "loss": 1.0}, "total_loss", task)
    assert not better({"total_loss": math.nan, "loss": 0.1}, {"total_loss": 0.5, "loss": 1.0}, "total_loss", task)
    with pytest.raises(UserError, match=r"unknown metric 'total_los'\. Did you mean total_loss"):
        higher_is_better("total_los", task)


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Scores of which one modality tells much and the other little; a third of the targets are zero."""
    rng = np.random.default_rng(1)
    y = np.where(np.arange(90) % 3 == 0, 0.0, rng.normal(size=90) * 2)
    split = np.repeat(["train", "val", "test"], 30)
    noise = {"x_a": 0.5, "x_b": 3.0}
    arrays = {m: (y[:, None] + rng.normal(size=(90, 4)) * scale).astype("float32") for m, scale in noise.items()}
    np.savez(tmp_path / "scores.npz", y=y, split=split, **arrays)
    return str(tmp_path / "scores.npz")


def monitors(data: str, methods: list[str], **overrides: list[str]) -> dict[str, object]:
    plan = make_plan(Request(methods, [data], seeds=[0], overrides=SMALL | overrides))
    return {run.method: run.training["monitor"] for run in plan.runs}


def test_it_is_the_loss_of_a_method_without_own_heads(data: str) -> None:
    """One `--set` serves methods with and without own heads; the key of the latter is that of `monitor=loss`."""
    found = monitors(data, ["joint", "agm", "mcr"], monitor=["total_loss"])
    assert found == {"joint": "loss", "agm": "loss", "mcr": "total_loss"}
    own = monitors(data, ["joint", "mcr"], monitor=["binary_accuracy_nonzero"], **{"mcr.monitor": ["total_loss"]})
    assert own == {"joint": "binary_accuracy_nonzero", "mcr": "total_loss"}


@pytest.mark.parametrize(("monitor", "sign"), [("total_loss", -1), ("mae", -1), ("binary_accuracy_nonzero", 1)])
def test_the_epoch_with_the_best_value_is_the_one_that_is_tested(
    data: str, tmp_path: Path, monitor: str, sign: int
) -> None:
    overrides = SMALL | {"monitor": [monitor], "optimizer.lr": ["0.05"], "mcr.lambda_uni": ["1"]}
    (spec,) = make_plan(Request(["mcr"], [data], seeds=[0], overrides=overrides)).runs
    events: list[Event] = []
    fit_run(Job(spec, "cpu", tmp_path / "work", {}, tmp_path / "weights.pt"), events.append)
    curve = [sign * e.metrics[f"val/{monitor}"] for e in events if isinstance(e, EpochDone)]
    final = next(e.metrics for e in events if isinstance(e, RunDone))
    assert curve[int(final["best_epoch"]) - 1] == max(curve)
    assert final[f"selected_val/{monitor}"] == pytest.approx(sign * max(curve))
