"""MLA: the projection in closed form, whole epochs of steps, and predictions weighted by certainty."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.models.multimodal import Inputs
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, whole_batch
from mcr_bench.bench.testing.trials.epochs import batches, begin_epoch, end_epoch, make_step, train
from mcr_bench.methods.mla import Mla, mean_feature, next_projection
from mcr_bench.methods.terms.boosting.certainty import certainty_weights, entropies
from mcr_bench.tests.methods.golden.in_turns import require_drawn_order
from mcr_bench.tests.methods.golden.mla_rule import steps

PLAIN = {"optimizer__name": "sgd", "optimizer__momentum": 0.0, "optimizer__weight_decay": 0.0, "clip_norm": 0.0}


def test_a_projection_from_a_known_direction() -> None:
    """k = r = (3, 4), so the projection is 1 - r r^T / (25 + 5) = [[21, -12], [-12, 14]] / 30, of norm sqrt(925)."""
    made = next_projection(torch.eye(2, dtype=torch.float64), torch.tensor([3.0, 4.0], dtype=torch.float64), alpha=5.0)
    expected = torch.tensor([[21.0, -12.0], [-12.0, 14.0]], dtype=torch.float64) / math.sqrt(21**2 + 2 * 144 + 14**2)
    torch.testing.assert_close(made, expected)


def test_with_a_small_alpha_nothing_is_left_of_the_direction() -> None:
    direction = torch.randn(7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    made = next_projection(torch.eye(7, dtype=torch.float64), direction, alpha=1e-12)
    assert (made @ direction).norm() < 1e-9
    torch.testing.assert_close(torch.linalg.eigvalsh(made)[1:], torch.full((6,), 1 / math.sqrt(6), dtype=torch.float64))


def test_rounding_below_zero_does_not_divide_by_zero() -> None:
    """r^T P r = -10 here, which is -alpha; a direction that the projection no longer has changes nothing."""
    rounded = torch.diag(torch.tensor([1.0, -1e-3], dtype=torch.float64))
    made = next_projection(rounded, torch.tensor([0.0, 100.0], dtype=torch.float64), alpha=10.0)
    torch.testing.assert_close(made, rounded / math.hypot(1.0, 1e-3))
    zero = next_projection(torch.eye(3), torch.zeros(3), alpha=0.5)
    torch.testing.assert_close(zero, torch.eye(3) / math.sqrt(3))


@pytest.mark.parametrize("count", [2, 3])
def test_what_is_left_of_the_gradient_is_logged_for_every_turn_that_projects(count: int) -> None:
    method = Mla()
    fit = make_fit(method, NAMES[:count], dtype=torch.float64, **PLAIN)
    begin_epoch(method)
    make_step(method, whole_batch(fit))
    shown = {k: v for k, v in fit.meters.means().items() if k.startswith("coefficient/")}
    assert set(shown) == {f"coefficient/{m}" for m in method.turns[1:]}
    projected = fit.model.fusion.get_submodule("head").weight.grad  # of the last turn
    assert isinstance(projected, Tensor)
    before = projected @ torch.linalg.inv(method.state_dict()["projection"].T)
    assert shown[f"coefficient/{method.turns[-1]}"] == pytest.approx(float(projected.norm() / before.norm()), rel=1e-6)
    plain = Mla(project="none")
    make_step(plain, whole_batch(fit := make_fit(plain, NAMES[:count])))
    assert not any("coefficient" in name for name in fit.meters.means())


def test_the_mean_feature_is_that_of_samples_that_have_the_modality() -> None:
    features = torch.tensor([[1.0, 5.0], [3.0, 7.0], [9.0, 9.0]])
    assert mean_feature(features, torch.tensor([True, True, False])).tolist() == [2.0, 6.0]
    assert mean_feature(features, torch.tensor([False] * 3)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("project", ["owm", "none"])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_an_epoch_of_steps(count: int, project: str) -> None:
    method = Mla(project=project, alpha=0.4)  # type: ignore[arg-type]
    fit = make_fit(method, NAMES[:count], dtype=torch.float64, batch_size=10, optimizer__lr=0.3, **PLAIN)
    begin_epoch(method)
    parts = batches(method)
    assert [len(part.target) for part in parts] == [10, 10, 4]
    expected, _ = steps(fit.model, parts, method.turns, 0.3, 0.4 if project == "owm" else None)
    for part in parts:
        make_step(method, part)
    mine = dict(fit.model.named_parameters())
    for name, weight in expected.items():
        torch.testing.assert_close(mine[name].detach(), weight, rtol=1e-9, atol=1e-12, msg=name)


def test_alpha_falls_within_an_epoch_and_begins_again_in_the_next() -> None:
    """The projection of each epoch's first step, from the state before it, is the one with the largest alpha."""
    method = Mla(order="given")
    fit = make_fit(method, dtype=torch.float64, batch_size=8)
    train(method)
    before = method.state_dict()["projection"]
    begin_epoch(method)
    batch = batches(method)[0]
    with torch.no_grad():
        for m in method.turns:
            before = next_projection(before, fit.model.encode_one(m, batch.inputs.values[m]).mean(0), 0.1)
    make_step(method, batch)
    torch.testing.assert_close(method.state_dict()["projection"], before, rtol=1e-8, atol=1e-12)


def test_turns_do_not_move_the_other_encoders() -> None:
    """With momentum and weight decay, a batch without gradients for an encoder would move it."""
    method = Mla()
    options = {"optimizer__name": "sgd", "optimizer__momentum": 0.9, "optimizer__weight_decay": 0.1}
    fit = make_fit(method, NAMES[:3], dtype=torch.float64, **options)
    seen: list[dict[str, Tensor]] = []
    fit.optimizer.register_step_post_hook(
        lambda *_: seen.append({k: v.clone() for k, v in fit.model.state_dict().items()})
    )
    begin_epoch(method)
    make_step(method, whole_batch(fit))
    make_step(method, whole_batch(fit))
    assert len(seen) == 6
    for i in range(1, 6):
        moved = {k.split(".")[1] for k, v in seen[i].items() if not torch.equal(v, seen[i - 1][k])} - {"head"}
        assert moved == {method.turns[i % 3]}
    kept = {m: [p.grad for p in fit.model.encoders[m].parameters()] for m in method.turns}
    assert all(g is not None for own in kept.values() for g in own)  # for those who look at them after the step


def test_entropy_and_weights_of_known_distributions() -> None:
    logits = torch.tensor([[[math.log(3), 0.0]], [[0.0, 0.0]]], dtype=torch.float64)
    h = [-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)), math.log(2)]
    assert entropies(logits)[:, 0].tolist() == pytest.approx(h)
    raw = [math.exp(max(h) - x) for x in h]
    assert certainty_weights(entropies(logits))[:, 0].tolist() == pytest.approx([x / sum(raw) for x in raw])


@pytest.mark.parametrize("count", [2, 3])
def test_a_prediction_is_weighted_sample_by_sample(count: int) -> None:
    method = Mla()
    fit = make_fit(method, NAMES[:count], dtype=torch.float64)
    fit.model.fusion.get_submodule("head").weight.data.mul_(9)  # type: ignore[operator, union-attr]
    train(method, 2)
    fit.model.eval()
    inputs = whole_batch(fit).inputs
    with torch.no_grad():
        outputs = method.predict(fit.model, inputs)
    state = fit.model.state_dict()
    z = [f @ state["fusion.head.weight"].T + state["fusion.head.bias"] for f in outputs.features.values()]
    for i in range(len(inputs)):
        h = [float(torch.distributions.Categorical(logits=x[i]).entropy()) for x in z]
        raw = [math.exp(max(h) - x) for x in h]
        expected = sum(w / sum(raw) * x[i] for w, x in zip(raw, z, strict=True))
        torch.testing.assert_close(outputs.logits[i], expected)
    equal = Mla(weights="equal")
    equal.fit = fit
    torch.testing.assert_close(equal.predict(fit.model, inputs).logits, torch.stack(z).mean(0))


def test_a_sample_is_predicted_from_what_it_has() -> None:
    method = Mla()
    fit = make_fit(method, NAMES[:3], dtype=torch.float64)
    fit.model.eval()
    inputs = whole_batch(fit).inputs
    nowhere, everywhere = torch.zeros(24, dtype=torch.bool), torch.ones(24, dtype=torch.bool)
    lacking = replace(inputs, present={NAMES[0]: nowhere, NAMES[1]: nowhere})
    alone = method.predict(fit.model, lacking)
    only = method.predict(fit.model, Inputs(inputs.values)).features[NAMES[2]]
    state = fit.model.state_dict()
    torch.testing.assert_close(alone.logits, only @ state["fusion.head.weight"].T + state["fusion.head.bias"])
    none = replace(inputs, present=dict.fromkeys(NAMES[:3], nowhere))
    every = replace(inputs, present=dict.fromkeys(NAMES[:3], everywhere))
    torch.testing.assert_close(method.predict(fit.model, none).logits, method.predict(fit.model, every).logits)


@pytest.mark.parametrize("task", [Task(None), Task(None, labels=3)], ids=["score", "labels"])
def test_a_regression_and_several_labels_have_equal_weights(task: Task) -> None:
    method = Mla()
    fit = make_fit(method, task=task, dtype=torch.float64)
    train(method)
    fit.model.eval()
    outputs = method.predict(fit.model, whole_batch(fit).inputs)
    head = fit.model.fusion.get_submodule("head")
    expected = sum(head(f) for f in outputs.features.values()) / 2
    torch.testing.assert_close(outputs.logits, expected)


def test_the_order_is_drawn_from_the_seed_and_the_projection_outlives_an_interruption() -> None:
    require_drawn_order(Mla)
    method, again = Mla(), Mla()
    assert method.state_dict() == {}
    make_fit(method)
    train(method)
    again.load_state_dict(method.state_dict())
    assert torch.equal(again.state_dict()["projection"], method.state_dict()["projection"])
    end_epoch(method)


def test_a_step_makes_one_pass_through_every_encoder() -> None:
    method = Mla()
    fit = make_fit(method, NAMES[:3])
    with fit.meters.watching(fit.model, 24):
        begin_epoch(method)
        make_step(method, whole_batch(fit))
    means = fit.meters.means()
    assert means["encoder_passes/forward"] == pytest.approx(1)
    assert means["encoder_passes/backward"] == pytest.approx(1)
    assert {f"gradient_norm/{m}" for m in NAMES[:3]} <= means.keys()
