"""How far steps move encoders' weights: recomputed from weights and gradients by NumPy, under three optimisers."""

from typing import Any

import numpy as np
import pytest
import torch

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.fit.moved import Movements
from mcr_bench.bench.settings.declaration import build
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, step
from mcr_bench.bench.testing.waits import META, Waits
from mcr_bench.bench.training.optim import make_optimizer
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Method
from mcr_bench.methods.joint import Joint

OPTIMISERS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer__name": "sgd", "optimizer__lr": 0.05, "optimizer__momentum": 0.0},
    "momentum": {"optimizer__name": "sgd", "optimizer__lr": 0.05, "optimizer__momentum": 0.9},
    "adam": {"optimizer__name": "adam", "optimizer__lr": 0.01},
    "adamw": {"optimizer__name": "adamw", "optimizer__lr": 0.01, "optimizer__weight_decay": 0.1},
}


class Scaled(Joint):
    """Joint training that multiplies the gradients of one encoder."""

    name = "scaled"
    factor = 1.0

    def after_backward(self, outputs: Any, batch: Batch) -> None:
        self.fit.scale(self.fit.model.parameters_of(NAMES[0], "encoder"), self.factor, NAMES[0])


def scaled(factor: float) -> Method:
    made: Method = type("Once", (Scaled,), {"factor": factor})()
    return made


def watched(method: Method, steps: int = 3) -> None:
    fit = method.fit
    for _ in range(steps):
        with fit.movements.watching(fit.model, fit.optimizer):
            step(method)


def weights(fit: Fit, m: str) -> np.ndarray:
    return np.concatenate([p.detach().double().numpy().ravel() for p in fit.model.encoders[m].parameters()])


def gradient(fit: Fit, m: str) -> np.ndarray:
    known = [p.grad for p in fit.model.encoders[m].parameters() if p.grad is not None]
    return np.concatenate([g.double().numpy().ravel() for g in known])


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize(("count", "task"), [(2, Task(3)), (3, Task(None)), (6, Task(3))])
def test_ratios_are_those_of_weights_before_and_after(optimiser: str, count: int, task: Task) -> None:
    method, names = Joint(), NAMES[:count]
    fit = make_fit(method, names, task, clip_norm=0.5, fusion="gated", **OPTIMISERS[optimiser])
    rate = OPTIMISERS[optimiser]["optimizer__lr"]
    moved, size, asked = (dict.fromkeys(names, 0.0) for _ in range(3))
    for _ in range(3):
        before = {m: weights(fit, m) for m in names}
        watched(method, 1)
        for m in names:
            moved[m] += np.linalg.norm(weights(fit, m) - before[m])
            size[m] += np.linalg.norm(before[m])
            asked[m] += rate * np.linalg.norm(gradient(fit, m))
    expected = {f"update_ratio/{m}": moved[m] / size[m] for m in names}
    expected |= {f"update_per_gradient/{m}": moved[m] / asked[m] for m in names}
    assert fit.movements.ratios() == pytest.approx(expected, rel=1e-4)
    assert fit.movements.ratios() == {}


def test_a_coefficient_is_kept_by_gradient_descent_and_lost_under_adam() -> None:
    ratios: dict[tuple[str, float], dict[str, float]] = {}
    for optimiser in ("sgd", "adam"):
        for factor in (1.0, 1.6):
            method = scaled(factor)
            fit = make_fit(method, **OPTIMISERS[optimiser])
            watched(method, 1 if optimiser == "sgd" else 4)
            ratios[optimiser, factor] = fit.movements.ratios()
    name, per = f"update_ratio/{NAMES[0]}", f"update_per_gradient/{NAMES[0]}"
    assert ratios["sgd", 1.6][name] == pytest.approx(1.6 * ratios["sgd", 1.0][name], rel=1e-4)
    assert ratios["sgd", 1.6][per] == pytest.approx(1.0, rel=1e-4)
    assert ratios["adam", 1.6][name] == pytest.approx(ratios["adam", 1.0][name], rel=1e-3)
    assert ratios["adam", 1.6][per] == pytest.approx(ratios["adam", 1.0][per] / 1.6, rel=1e-2)


def test_groups_have_rates_of_their_own_and_frozen_encoders_do_not_move() -> None:
    method = Joint()
    fit = make_fit(method, optimizer__name="sgd", optimizer__momentum=0.0, optimizer__weight_decay=0.0)
    first, second = (fit.model.parameters_of(m, "encoder") for m in NAMES[:2])
    for p in second:
        p.requires_grad_(False)
    groups = [{"params": first[:1], "lr": 0.5}, {"params": [*first[1:], *fit.model.fusion.parameters()]}]
    fit.optimizer = make_optimizer(groups, fit.settings.optimizer)
    watched(method, 2)
    ratios = fit.movements.ratios()
    assert ratios[f"update_per_gradient/{NAMES[0]}"] == pytest.approx(1.0, rel=1e-4)
    assert ratios[f"update_ratio/{NAMES[1]}"] == 0.0
    assert f"update_per_gradient/{NAMES[1]}" not in ratios


def test_of_a_large_encoder_the_first_half_of_each_tensor_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    method = Joint()
    fit = make_fit(method)
    own = fit.model.parameters_of(NAMES[0], "encoder")
    monkeypatch.setattr("mcr_bench.bench.fit.moved.MOST", sum(p.numel() for p in own) / 2)

    def slices() -> np.ndarray:
        return np.concatenate([p.detach().numpy()[: max(1, round(len(p) / 2))].ravel() for p in own])

    before = slices()
    watched(method, 1)
    expected = np.linalg.norm(slices() - before) / np.linalg.norm(before)
    assert fit.movements.ratios()[f"update_ratio/{NAMES[0]}"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["joint", "ogm-ge", "mcr", "mlb"])
def test_watching_changes_no_weight(name: str) -> None:
    states = []
    for watching in (True, False):
        method = build(registry.method(name), {})
        fit = make_fit(method)
        for _ in range(3):
            watched(method, 1) if watching else step(method)
        states.append(fit.model.state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_no_watched_step_waits_for_the_device() -> None:
    method = Joint()
    fit = make_fit(method, optimizer__name="sgd")
    fit.model, fit.train = fit.model.to(META), fit.train.to(META)
    fit.device = META
    fit.optimizer = make_optimizer(method.parameter_groups(fit.model), fit.settings.optimizer)
    batch = fit.train.batch(torch.arange(len(fit.train), device=META))
    with Waits() as noted:
        for _ in range(2):
            with fit.movements.watching(fit.model, fit.optimizer):
                step(method, batch)
    assert noted.seen == []
    assert fit.movements.failure == ""


def test_what_cannot_be_measured_ends_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> None:
        raise RuntimeError("out of memory")

    method = Joint()
    fit = make_fit(method)
    monkeypatch.setattr(torch, "stack", exhausted)
    before = weights(fit, NAMES[0])
    watched(method)
    assert not np.array_equal(before, weights(fit, NAMES[0]))
    assert "out of memory" in fit.movements.failure
    assert fit.movements.ratios() == {}


def test_an_error_of_the_step_is_the_steps_own() -> None:
    method = Joint()
    fit = make_fit(method)
    movements = Movements()
    with pytest.raises(ZeroDivisionError), movements.watching(fit.model, fit.optimizer):
        raise ZeroDivisionError
    assert movements.failure == ""
    assert movements.ratios() == {}
