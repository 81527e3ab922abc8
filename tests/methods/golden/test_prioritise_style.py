"""Prioritise-style: who is the best by validation, and gradients and steps that are multiples of joint training's."""

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, THREE, make_fit, step, tiny_split
from mcr_bench.methods.joint import Joint
from mcr_bench.methods.prioritise_style import PrioritiseStyle, prioritised
from mcr_bench.methods.terms.distillation.ranking import validation_scores
from mcr_bench.tests.methods.golden.teachers import taught, unimodal_runs

TASKS = pytest.mark.parametrize("task", [THREE, Task(None), Task(None, labels=3)], ids=["classes", "score", "labels"])
VALIDATION = 5  # seed of a validation part of its own


def with_validation(fit: Fit) -> None:
    values = tiny_split(tuple(fit.model.modalities), fit.task, seed=VALIDATION)
    fit.val = values.learned(fit.task)
    fit.val.values = {m: x.to(next(fit.model.parameters()).dtype) for m, x in fit.val.values.items()}  # type: ignore[union-attr]


def started(method: PrioritiseStyle, names: tuple[str, ...], task: Task, runs: list[dict[str, Tensor]]) -> Fit:
    training = {"optimizer__name": "sgd", "optimizer__lr": 0.1, "clip_norm": 0.0}
    training |= {"optimizer__momentum": 0.0, "optimizer__weight_decay": 0.0}
    return make_fit(method, names, task, dtype=torch.float64, dependencies=runs, prepare=with_validation, **training)


def by_hand(fit: Fit, runs: list[dict[str, Tensor]], names: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """How good each unimodal run is on the validation part, sample by sample, and minus its loss."""
    values = {m: x for m, x in fit.val.values.items() if isinstance(x, Tensor)}
    _, logits = taught(fit.model, runs, names, values)
    found = {}
    for m in names:
        rows = list(zip(logits[m], fit.val.labels, strict=True))
        if fit.task.classes:
            found[m] = sum(z.argmax() == y for z, y in rows) / len(rows)
        elif fit.task.multi_label:
            found[m] = sum(bool(((z > 0) == (y > 0)).all()) for z, y in rows) / len(rows)
        else:
            found[m] = -sum(abs(z.item() - y.item()) for z, y in rows) / len(rows)
    losses = {m: fit.task.loss(logits[m], fit.val.target).item() for m in names}
    return {m: (float(found[m]), -losses[m]) for m in names}


def test_coefficients_by_hand() -> None:
    for scores, expected in (
        ([0.5, 0.7, 0.6], [0.25, 2.0, 0.25]),
        ([-0.5, -0.7], [2.0, 0.25]),  # minus an error
        ([0.7, 0.7, 0.6], [2.0, 2.0, 0.25]),
        ([0.7, 0.7], [1.0, 1.0]),
    ):
        found = prioritised({m: (s,) for m, s in zip("abc", scores, strict=False)}, 2.0, 0.25)
        assert list(found.values()) == expected
    assert prioritised({"a": (0.7, -1.2), "b": (0.7, -1.1)}, 2.0, 0.25) == {"a": 0.25, "b": 2.0}, "by the loss"
    assert prioritised({}, 2.0, 0.25) == {}


@TASKS
@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_best_by_validation_is_sped_up_and_the_others_slowed(count: int, task: Task) -> None:
    names = NAMES[:count]
    runs = unimodal_runs(names, task)
    method = PrioritiseStyle(dominant=1.75, rest=0.3)
    fit, plain = started(method, names, task, runs), make_fit(Joint(), names, task, dtype=torch.float64)
    scores = by_hand(fit, runs, names)
    for m, score in validation_scores(fit).items():
        assert score == pytest.approx(scores[m], rel=1e-6)
    best = max(scores.values())
    assert len(set(scores.values())) > 1
    expected = {m: 1.75 if score == best else 0.3 for m, score in scores.items()}
    batch = plain.train.batch(torch.arange(24))
    task.loss(plain.model(batch.inputs).logits, batch.target).backward()
    gradients = {name: p.grad for name, p in plain.model.named_parameters()}
    starts = {name: p.detach().clone() for name, p in fit.model.named_parameters()}
    step(method)
    for name, p, owner in fit.model.owned():
        grad = gradients[name]
        if grad is not None:
            factor = expected[owner.modality] if owner.role == "encoder" and p.ndim >= 2 and owner.modality else 1.0
            torch.testing.assert_close(p.grad, factor * grad, rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(p, starts[name] - 0.1 * factor * grad, rtol=1e-9, atol=1e-12)
    means = fit.meters.means()
    assert {m: means[f"coefficient/{m}"] for m in names} == pytest.approx(expected)


def test_order_and_coefficients_stay_to_the_end() -> None:
    names, method = NAMES[:3], PrioritiseStyle()
    fit = started(method, names, THREE, unimodal_runs(names))
    seen = []
    for _ in range(4):
        fit.epoch += 1
        step(method, fit.train.batch(torch.randperm(24)[:5]))
        means = fit.meters.means()
        seen.append([means[f"coefficient/{m}"] for m in names])
    assert all(one == seen[0] for one in seen)
    assert max(seen[0]) > 1 > min(seen[0])


def test_samples_without_a_modality_do_not_rank_it() -> None:
    names = NAMES[:2]
    runs = unimodal_runs(names)
    fit = make_fit(PrioritiseStyle(), names, dtype=torch.float64, dependencies=runs)
    has = torch.arange(24) % 4 == 0
    fit.val.present = {"audio": has}
    _, logits = taught(fit.model, runs, names, {m: x for m, x in fit.val.values.items() if isinstance(x, Tensor)})
    expected = (logits["audio"].argmax(1) == fit.val.target)[has].double().mean().item()
    assert validation_scores(fit)["audio"][0] == pytest.approx(expected)
    fit.val.present = {"audio": torch.zeros(24, dtype=torch.bool)}
    assert list(validation_scores(fit)) == ["video"]
    method = PrioritiseStyle()
    method.fit = fit
    method.on_fit_start()
    assert method.factors.tolist() == [1.0, 1.0], "nobody to compare with"


def test_outside_of_its_window_it_is_joint_training() -> None:
    names, method = NAMES[:2], PrioritiseStyle(start=2, end=2)
    fit = started(method, names, THREE, unimodal_runs(names))
    for fit.epoch in (1, 3):
        step(method)
    assert "coefficient/audio" not in fit.meters.means()


def test_a_missing_run_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="2 unimodal runs are needed, 1 were given"):
        make_fit(PrioritiseStyle(), dependencies=unimodal_runs(NAMES[:1]))
