"""AUG: the loss of a growing sum of classifiers, whole epochs of steps, who grows and when, and what is predicted."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, tiny_split, whole_batch
from mcr_bench.bench.testing.trials.epochs import batches, begin_epoch, end_epoch, make_step, train
from mcr_bench.bench.training.growth import keep_grown
from mcr_bench.methods.aug import Aug, behind, boosting_loss, is_checked
from mcr_bench.tests.methods.golden.aug_rule import scores, steps
from mcr_bench.tests.methods.golden.in_turns import interrupt, require_bit_equal

PLAIN = {"optimizer__name": "sgd", "optimizer__momentum": 0.0, "optimizer__weight_decay": 0.0, "clip_norm": 0.0}
NEVER = {"tolerance": 99.0}  # no modality is ever so far behind


def test_the_loss_of_known_distributions() -> None:
    """Older ones give (3/4, 1/4), the newest (1/2, 1/2) and all together (3/4, 1/4); the second sample is wrong."""
    old = torch.tensor([[math.log(3), 0.0]] * 2, dtype=torch.float64)
    loss = boosting_loss(old, torch.zeros(2, 2, dtype=torch.float64), torch.tensor([0, 1]), residual=0.5)
    first = 2 * math.log(4 / 3) + (1 - 0.5 * 0.75) * math.log(2)
    second = 2 * math.log(4) + (1 - 0.5 * 0.25) * math.log(2)
    assert loss.tolist() == pytest.approx([first, second])


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("grown", [(), ("audio_1",), ("video_1", "audio_1", "video_2")])
def test_an_epoch_of_steps(count: int, grown: tuple[str, ...]) -> None:
    method = Aug(residual=0.7)
    fit = make_fit(method, NAMES[:count], dtype=torch.float64, batch_size=10, optimizer__lr=0.3, **PLAIN)
    for name in grown:
        fit.grow(name)
    begin_epoch(method)
    parts = batches(method)
    expected, _ = steps(fit.model, parts, method.turns, 0.3, 0.7)
    before = {name: p.detach().clone() for name, p in fit.model.named_parameters()}
    for part in parts:
        make_step(method, part)
    mine = dict(fit.model.named_parameters())
    for name, weight in expected.items():
        torch.testing.assert_close(mine[name].detach(), weight, rtol=1e-9, atol=1e-12, msg=name)
        if name.startswith("extras."):
            assert not torch.equal(mine[name], before[name]), "it is trained"


def test_who_is_behind() -> None:
    assert behind({"a": 0.50, "b": 0.51}, 0.01) == ["a"]
    assert behind({"a": 0.50, "b": 0.5049}, 0.01) == []
    assert behind({"a": 0.3, "b": 0.2, "c": 0.2}, 0.01) == ["b", "c"]
    assert behind({"a": 0.0, "b": 0.0}, 0.01) == []


def test_when_modalities_are_compared() -> None:
    assert [e for e in range(1, 201) if is_checked(e, 200)] == [1, *range(20, 201, 20)]
    assert [e for e in range(1, 8) if is_checked(e, 7)] == [1, 2, 3, 4, 5, 6, 7]
    assert [e for e in range(1, 20) if is_checked(e, 19)] == list(range(1, 20))


@pytest.mark.parametrize("weak", NAMES[:3])
def test_the_modality_with_the_lowest_score_grows(weak: str) -> None:
    method = Aug()
    fit = make_fit(method, NAMES[:3], epochs=20)
    for _ in range(6):
        begin_epoch(method)
        for batch in batches(method):
            make_step(method, batch)
        others = {m: torch.tensor([13.0, 24.0]) for m in NAMES[:3]}
        method.load_state_dict(others | {weak: torch.tensor([12.8, 24.0])})  # sums of scores, and samples
        end_epoch(method)
    assert fit.grown == [f"{weak}_1", f"{weak}_2", f"{weak}_3", f"{weak}_4"]  # epochs 1, 2, 4 and 6
    layers = [fit.model.extras[name] for name in fit.grown]
    assert all(layer.get_parameter("weight").shape == (3, 6) for layer in layers)
    trained = {id(p) for group in fit.optimizer.param_groups for p in group["params"]}
    assert all(id(p) in trained for layer in layers for p in layer.parameters())
    fit.meters.means()
    begin_epoch(method)
    assert fit.meters.means() == {f"classifiers/{m}": 5.0 if m == weak else 1.0 for m in NAMES[:3]}


def test_the_score_is_that_of_the_steps_of_the_epoch() -> None:
    """At a learning rate of 0 the sums are those of the probabilities of the true class over the samples that count."""
    data = tiny_split(NAMES[:2])
    data = replace(data, present={"video": torch.arange(24) % 3 > 0})
    method = Aug(**NEVER)
    fit = make_fit(method, data=data, dtype=torch.float64, batch_size=7, optimizer__lr=0.0, **PLAIN)
    begin_epoch(method)
    for batch in batches(method):
        make_step(method, batch)
    batch, weights = whole_batch(fit), dict(fit.model.state_dict())
    for m, kept in (("audio", torch.ones(24, dtype=torch.bool)), ("video", torch.arange(24) % 3 > 0)):
        (z,) = scores(weights, m, fit.model.encode_one(m, batch.inputs.values[m]).detach())
        right = z.softmax(1)[torch.arange(24), batch.target][kept]
        assert method.state_dict()[m].tolist() == pytest.approx([right.sum().item(), len(right)])
    end_epoch(method)
    assert fit.grown == []


@pytest.mark.parametrize(("count", "first"), [(2, 0.5), (2, 0.4), (3, 0.4)])
def test_a_prediction_sums_all_classifiers(count: int, first: float) -> None:
    method = Aug(first_weight=first, **NEVER)
    fit = make_fit(method, NAMES[:count], dtype=torch.float64)
    for name in ("video_1", "video_2", "audio_1"):
        fit.grow(name)
    train(method, 2)
    fit.model.eval()
    with torch.no_grad():
        inputs = whole_batch(fit).inputs
        outputs = method.predict(fit.model, inputs)
        z = {m: sum(scores(dict(fit.model.state_dict()), m, f)) for m, f in outputs.features.items()}
        given = [first, 1 - first] if count == 2 else [1 / 3] * 3
        expected = sum(w * x for w, x in zip(given, z.values(), strict=True))
        torch.testing.assert_close(outputs.logits, expected)
        lacking = replace(inputs, present={"audio": torch.arange(24) > 3})
        alone = sum(z[m] for m in NAMES[1:count]) / (count - 1)  # type: ignore[arg-type]
        torch.testing.assert_close(method.predict(fit.model, lacking).logits[:4], alone[:4])


@pytest.mark.parametrize("count", [2, 3])
def test_a_run_that_is_interrupted_after_growths_ends_bit_equal(count: int, tmp_path: Path) -> None:
    def started() -> Aug:
        method = Aug()
        make_fit(method, NAMES[:count], batch_size=8, epochs=20, optimizer__lr=0.02)
        return method

    method, again = train(started(), 4), started()
    assert method.fit.grown
    interrupt(method, again, tmp_path)
    assert method.fit.grown == again.fit.grown
    require_bit_equal(method, again)


def test_the_weights_of_an_earlier_epoch_predict_with_the_classifiers_of_that_epoch() -> None:
    method = Aug()
    fit = make_fit(method, dtype=torch.float64, epochs=20, optimizer__lr=0.05)
    train(method, 2)
    weights, grown = {k: v.clone() for k, v in fit.model.state_dict().items()}, [*fit.grown]
    fit.model.eval()
    inputs = whole_batch(fit).inputs
    with torch.no_grad():
        before = method.predict(fit.model, inputs).logits
    train(method, 6)
    assert len(fit.grown) > len(grown)
    keep_grown(fit, grown)
    fit.model.load_state_dict(weights)
    fit.model.eval()
    with torch.no_grad():
        assert torch.equal(method.predict(fit.model, inputs).logits, before)


def test_tasks_for_which_it_is_not_defined_are_refused_with_the_reason() -> None:
    assert "classification" in str(Aug.needs.unmet(2, Task(None)))
    assert "several labels" in str(Aug.needs.unmet(2, Task(None, labels=3)))
