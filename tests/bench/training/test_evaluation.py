"""Evaluation, predictions, probe heads and meters: what is reported is what a hand-made forward pass gives."""

import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.evaluated import Evaluation
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.fit.meters import Meters
from mcr_bench.bench.models.multimodal import Inputs
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, tiny_split
from mcr_bench.bench.training.evaluation import absent_inputs, better, evaluate, features_of, subset_logits
from mcr_bench.bench.training.linear_head import L2
from mcr_bench.bench.training.predictions import write_predictions
from mcr_bench.bench.training.probes import FeatureStore, Probes
from mcr_bench.datasets.base import Split
from mcr_bench.methods.base import Method

CPU, CLASSES, REGRESSION = torch.device("cpu"), Task(3), Task(None)


def joint(modalities: tuple[str, ...] = NAMES[:2], **options: object) -> tuple[Method, Fit]:
    """Joint training after two steps, in evaluation mode."""
    method = registry.method("joint")()
    fit = make_fit(method, modalities, **options)
    for _ in range(2):
        step(method)
    fit.model.eval()
    return method, fit


def probes_of(fit: Fit, iterations: int = 5) -> Probes:
    probes = Probes(fit.model, CPU)
    probes.fit(stored(fit), iterations)
    return probes


def stored(fit: Fit) -> dict[str, tuple[Tensor, Tensor]]:
    """Features of the training part as the store gives them."""
    with torch.no_grad():
        features = fit.model.encode(Inputs(fit.train.values))
    return {m: (f, fit.train.target) for m, f in features.items()}


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_features_need_no_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    method, fit = joint()
    expected = {m: f for m, (f, _) in stored(fit).items()}
    monkeypatch.setattr("mcr_bench.bench.training.evaluation.score", None)  # a part need not define what selects
    found = features_of(method, fit.model, fit.train, 7)
    assert found.keys() == expected.keys()
    for m, f in expected.items():
        close(found[m], f)


@pytest.mark.parametrize("chunk", [1, 7, 24, 100])
@pytest.mark.parametrize("task", [CLASSES, REGRESSION], ids=["classification", "regression"])
def test_predictions_are_those_of_one_forward_pass_in_order(task: Task, chunk: int) -> None:
    method, fit = joint(task=task)
    probes = probes_of(fit)
    found = evaluate(method, fit.model, fit.val, probes, chunk)
    with torch.no_grad():
        outputs = fit.model(Inputs(fit.val.values))
    close(found.logits, outputs.logits)
    for m, f in outputs.features.items():
        close(found.features[m], f)
        close(found.modality_logits[m], f @ probes.heads[m].weight.T + probes.heads[m].bias)
    assert found.split_logits is not None
    close(sum(found.split_logits.values()), outputs.logits)
    head = "mae" if task.regression else "accuracy"
    own = found.metrics[f"modality/{NAMES[1]}/{head}"]
    if task.regression:
        expected = (found.modality_logits[NAMES[1]][:, 0] - fit.val.target).abs().mean().item()
    else:
        expected = (found.modality_logits[NAMES[1]].argmax(1) == fit.val.target).float().mean().item()
    assert own == pytest.approx(expected, abs=1e-6)
    assert {f"{p}/{m}/{head}" for p in ("modality", "split") for m in NAMES[:2]} <= found.metrics.keys()
    assert found.metrics["loss"] == pytest.approx(task.loss(outputs.logits, fit.val.target).item(), abs=1e-5)


def test_own_heads_report_where_a_method_trains_them() -> None:
    method, fit = joint()
    found = evaluate(method, fit.model, fit.val, None, 10)
    for m in NAMES[:2]:
        close(found.modality_logits[m], fit.model.own_heads[m](found.features[m]).detach())


def test_a_head_without_a_split_reports_none() -> None:
    method, fit = joint(fusion="gated")
    found = evaluate(method, fit.model, fit.val, None, 10)
    assert found.split_logits is None
    assert not any(name.startswith("split/") for name in found.metrics)


@pytest.mark.parametrize("fusion", ["late-linear", "gated"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_absent_modalities_are_their_training_mean(count: int, fusion: str) -> None:
    names = NAMES[:count]
    method, fit = joint(names, fusion=fusion)
    val = tiny_split(names, n=11, seed=5)
    before = {m: x.clone() for m, x in val.values.items()}
    found = subset_logits(method, fit.model, val, absent_inputs(fit.train), 4)
    assert len(found) == 2**count - 1
    for subset, logits in found.items():
        values = {m: val.values[m] if m in subset else fit.train.values[m].mean(0).repeat(11, 1) for m in names}
        with torch.no_grad():
            close(logits, fit.model(Inputs(values)).logits)
    assert all(torch.equal(val.values[m], x) for m, x in before.items())


def test_an_absent_padded_modality_is_the_mean_of_real_steps_at_the_mean_length() -> None:
    x = torch.tensor([[1.0, 2.0, 9.0, 9.0], [3.0, 4.0, 5.0, 9.0], [5.0, 9.0, 9.0, 9.0]])[..., None]
    lengths = torch.tensor([2, 3, 1])
    split = Split({"text": x}, torch.zeros(3).long(), ["a", "b", "c"], lengths={"text": lengths})
    absent = absent_inputs(split)
    close(absent.values["text"], torch.tensor([[[3.0], [3.0], [5.0], [0.0]]]))  # 9 is padding
    assert absent.lengths["text"].tolist() == [2]


def test_a_padded_modality_is_masked_with_its_length() -> None:
    """A model that reads the last real step tells which length stood in."""

    class Last(torch.nn.Module):
        def forward(self, values: Tensor, lengths: Tensor | None) -> Tensor:
            assert lengths is not None
            return values[torch.arange(len(values)), lengths - 1].expand(-1, 6)

    method, fit = joint()
    fit.model.encoders[NAMES[1]] = Last()
    values = tiny_split(n=5).values[NAMES[0]]
    steps = torch.arange(20.0).reshape(5, 4, 1)
    lengths = torch.tensor([1, 2, 3, 4, 4])  # mean 2.8: length 3
    split = Split(
        {NAMES[0]: values, NAMES[1]: steps}, torch.zeros(5).long(), list("abcde"), lengths={NAMES[1]: lengths}
    )
    found = subset_logits(method, fit.model, split, absent_inputs(split), 2)[(NAMES[0],)]
    third = torch.tensor([10.0, 14.0, 18.0]).mean()  # of the samples that have a third step
    with torch.no_grad():
        features = {NAMES[0]: fit.model.encode_one(NAMES[0], values), NAMES[1]: third.expand(5, 6)}
        close(found, fit.model.fuse(features).logits)


@pytest.mark.parametrize(
    ("new", "old", "monitor", "task", "answer"),
    [
        ((0.6, 9.0), (0.5, 1.0), "accuracy", CLASSES, True),
        ((0.4, 0.1), (0.5, 1.0), "accuracy", CLASSES, False),
        ((0.5, 0.9), (0.5, 1.0), "accuracy", CLASSES, True),
        ((0.5, 1.0), (0.5, 1.0), "accuracy", CLASSES, False),
        ((0.5, 1.1), (0.5, 1.0), "accuracy", CLASSES, False),
        ((0.4, 9.0), (0.5, 1.0), "mae", REGRESSION, True),
        ((0.6, 0.1), (0.5, 1.0), "mae", REGRESSION, False),
        ((0.5, 0.9), (0.5, 1.0), "mae", REGRESSION, True),
        ((math.nan, 0.1), (0.5, 1.0), "mae", REGRESSION, False),
        ((0.5, 1.0), (math.nan, 0.1), "mae", REGRESSION, True),
        ((0.1, 1.0), (0.1, math.nan), "accuracy", CLASSES, True),
        ((math.nan, math.nan), (math.nan, math.nan), "mae", REGRESSION, False),
    ],
)
def test_the_better_epoch(
    new: tuple[float, float], old: tuple[float, float], monitor: str, task: Task, answer: bool
) -> None:
    def named(pair: tuple[float, float]) -> dict[str, float]:
        return {monitor: pair[0], "loss": pair[1]}

    assert better(named(new), named(old), monitor, task) is answer
    assert better(named(new), None, monitor, task)


def test_predictions_are_read_back_as_they_were(tmp_path: Path) -> None:
    names = NAMES[:3]
    method, fit = joint(names)
    test = tiny_split(names, n=7, seed=9)
    test.ids, test.groups = [f"t{i}" for i in range(7)], None
    parts = {}
    for part, split in (("val", fit.val), ("test", test)):
        found = evaluate(method, fit.model, split, None, 10)
        parts[part] = (split, found, subset_logits(method, fit.model, split, absent_inputs(fit.train), 10))
    path = tmp_path / "new" / "predictions.parquet"
    write_predictions(path, parts)
    table = pq.read_table(path).to_pydict()
    subsets = ["subset/" + s for s in ("", "audio", "video", "text", "audio+video", "audio+text", "video+text")]
    heads = [f"{p}/{m}" for p in ("modality", "split") for m in names]
    assert list(table) == ["part", "id", "group", "label", "logits", *heads, *subsets]
    assert table["part"] == ["val"] * 24 + ["test"] * 7
    assert table["id"] == [*fit.val.ids, *test.ids]
    assert table["group"] == [*(fit.val.groups or []), *test.ids]
    assert table["label"] == [*fit.val.target.tolist(), *test.target.tolist()]
    (_, val, val_subsets), (_, tested, test_subsets) = parts["val"], parts["test"]
    for column, one, other in (
        ("logits", val.logits, tested.logits),
        ("modality/video", val.modality_logits["video"], tested.modality_logits["video"]),
        ("subset/audio+text", val_subsets["audio", "text"], test_subsets["audio", "text"]),
    ):
        assert torch.equal(torch.tensor(table[column]), torch.cat([one, other]))
    assert [f.name for f in path.parent.iterdir()] == ["predictions.parquet"]


def test_a_write_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    path.write_text("old")
    split = tiny_split(n=4)
    empty = Evaluation(torch.zeros(3, 2), {}, {}, None, split.target, {})  # three rows for four samples
    with pytest.raises(ValueError, match="length"):
        write_predictions(path, {"val": (split, empty, {})})
    assert path.read_text() == "old"


def test_fitting_probes_changes_neither_the_model_nor_random_numbers() -> None:
    _, fit = joint()
    weights = {k: v.clone() for k, v in fit.model.state_dict().items()}
    gradients = {k: p.grad.clone() for k, p in fit.model.named_parameters() if p.grad is not None}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    probes = probes_of(fit, iterations=20)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, weights[k]) for k, v in fit.model.state_dict().items())
    assert gradients
    assert all(torch.equal(p.grad, gradients[k]) for k, p in fit.model.named_parameters() if p.grad is not None)
    assert any(head.weight.abs().sum() > 0 for head in probes.heads.values())


def test_probes_reach_the_regularised_logistic_optimum() -> None:
    _, fit = joint()
    probes = probes_of(fit, iterations=500)
    onehot = torch.eye(3, dtype=torch.double)[fit.train.target]
    for m, (features, _) in stored(fit).items():
        f, head = features.double(), probes.heads[m]
        residual = ((f @ head.weight.double().T + head.bias.double()).softmax(1) - onehot) / len(f)
        slope = residual.T @ f + 2 * L2 * head.weight.double()
        start = ((torch.full_like(onehot, 1 / 3) - onehot) / len(f)).T @ f
        assert slope.abs().max() < 1e-4 < 0.02 < start.abs().max()
        assert residual.sum(0).abs().max() < 1e-4


def test_probes_continue_from_where_they_stand() -> None:
    _, fit = joint()
    probes, twin = probes_of(fit, 3), Probes(fit.model, CPU)
    twin.load_state_dict(probes.state_dict())
    for each in (probes, twin):
        each.fit(stored(fit), 3)
    for m in NAMES[:2]:
        assert torch.equal(probes.heads[m].weight, twin.heads[m].weight)


def test_the_store_keeps_the_first_pass_of_a_step() -> None:
    _, fit = joint()
    store = FeatureStore(fit.model)
    batch = fit.train.batch(torch.arange(6))
    fit.model(batch.inputs)  # before any step: an evaluation
    store.expect(batch.target)
    first = fit.model(batch.inputs).features
    fit.model(batch.inputs.replace({m: x + 1 for m, x in batch.inputs.values.items()}))  # a masked pass
    store.expect(batch.target[:4])
    second = fit.model(fit.train.batch(torch.arange(4)).inputs).features
    taken = store.take()
    for m in NAMES[:2]:
        features, target = taken[m]
        assert torch.equal(features, torch.cat([first[m], second[m]]))
        assert torch.equal(target, torch.cat([batch.target, batch.target[:4]]))
        assert not features.requires_grad
    fit.model(batch.inputs)  # validation
    assert store.take() == {}


def test_meters_give_means_and_start_anew() -> None:
    meters = Meters()
    for value in (1.0, 2.0, 6.0):
        meters.add("loss", torch.tensor(value, requires_grad=True))
    meters.add("once", 4.0)
    assert meters.means() == {"loss": 3.0, "once": 4.0}
    assert meters.means() == {}
    meters.add("loss", 5)
    assert meters.means() == {"loss": 5.0}


@pytest.mark.parametrize("count", [2, 3])
def test_joint_passes_each_encoder_once_forward_and_once_backward(count: int) -> None:
    method, fit = joint(NAMES[:count])
    fit.meters.means()
    with fit.meters.watching(fit.model, len(fit.train)):
        step(method)
    means = fit.meters.means()
    assert means["encoder_passes/forward"] == pytest.approx(1)
    assert means["encoder_passes/backward"] == pytest.approx(1)
    for m in NAMES[:count]:
        squares = sum(p.grad.square().sum() for p in fit.model.encoders[m].parameters() if p.grad is not None)
        assert means[f"gradient_norm/{m}"] == pytest.approx(math.sqrt(squares), rel=1e-5)


def test_passes_without_a_gradient_and_of_one_modality_count_as_what_they_are() -> None:
    _, fit = joint()
    fit.meters.means()
    inputs = fit.train.batch(torch.arange(12)).inputs  # half a batch of 24
    with fit.meters.watching(fit.model, 24):
        with torch.no_grad():
            fit.model(inputs)
        fit.model.encode_one(NAMES[0], inputs.values[NAMES[0]]).sum().backward()
    means = fit.meters.means()
    assert (means["encoder_passes/forward"], means["encoder_passes/backward"]) == pytest.approx((0.75, 0.25))


def test_nothing_is_watched_outside() -> None:
    method, fit = joint()
    fit.meters.means()
    with fit.meters.watching(fit.model, 24):
        pass
    assert fit.meters.means() == {"encoder_passes/forward": 0, "encoder_passes/backward": 0}
    step(method)
    assert not any(name.startswith(("gradient_norm", "encoder_passes")) for name in fit.meters.means())


def test_scaling_multiplies_gradients_and_says_by_what() -> None:
    _, fit = joint()
    fit.meters.means()
    parameters = fit.model.parameters_of(NAMES[0], "encoder")
    before = [p.grad.clone() for p in parameters if p.grad is not None]
    fit.scale(parameters, 0.25, NAMES[0])
    for old, p in zip(before, parameters, strict=True):
        torch.testing.assert_close(p.grad, old * 0.25)
    assert fit.meters.means() == {f"coefficient/{NAMES[0]}": 0.25}
    fit.zero_grad()
    with pytest.raises(UserError, match="no gradient to scale for 'audio'"):
        fit.scale(parameters, 0.25, "audio")


@pytest.mark.parametrize("clip", [0.0, 0.01])
def test_clipping_comes_after_the_norms_are_taken(clip: float) -> None:
    method, fit = joint(clip_norm=clip)
    fit.meters.means()
    with fit.meters.watching(fit.model, 24):
        step(method)
    norm = torch.nn.utils.get_total_norm([p.grad for p in fit.model.parameters() if p.grad is not None]).item()
    assert (norm == pytest.approx(0.01, rel=1e-3)) is bool(clip)
    assert fit.meters.means()[f"gradient_norm/{NAMES[0]}"] > 0.01


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.bool, torch.int64, torch.float32, torch.float64]
)
def test_the_mean_of_a_thousand_ones_is_one(dtype: torch.dtype) -> None:
    """Sums in bfloat16 stop growing at 256, and True + True is True."""
    meters = Meters()
    for _ in range(1000):
        meters.add("one", torch.ones((), dtype=dtype))
        meters.add_each(("a", "b"), torch.ones(2, dtype=dtype))
    assert meters.means() == {"one": 1.0, "a": 1.0, "b": 1.0}
