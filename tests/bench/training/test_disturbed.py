"""Noisy and exchanged inputs: what a method is given is what is promised, and predictions are those of plain passes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.models.fusion import Fused, Fusion
from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel, Outputs
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, tiny_split
from mcr_bench.bench.training.after.disturbed import LEVELS, PERMUTATIONS, deviations, disturbed, disturbed_metrics
from mcr_bench.datasets.base import Split
from mcr_bench.methods.joint import Joint
from mcr_bench.tests.support.runs.stored_set import SET

CLASSES, SCORES = Task(3), Task(None)


@dataclass
class Asked(Joint):
    """Joint training that remembers every prediction: its inputs and logits."""

    calls: list[tuple[Inputs, Tensor]] = field(default_factory=list)

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        outputs: Outputs = model(inputs)
        self.calls.append((Inputs({**inputs.values}, {**inputs.lengths}), outputs.logits.clone()))
        return outputs


def trained(count: int, task: Task = CLASSES, **options: Any) -> tuple[Asked, Fit]:
    method = Asked()
    fit = make_fit(method, NAMES[:count], task, **options)
    for _ in range(3):
        step(method)
    fit.model.eval()
    return method, fit


def variants(method: Asked, names: tuple[str, ...]) -> list[dict[tuple[str, float], tuple[Inputs, Tensor]]]:
    """For each chunk ("", 0) -> intact, (m, level) -> noisy, (m, -1 - k) -> exchanged, in the order of the calls."""
    keys = [("", 0.0)]
    for m in names:
        keys += [(m, level) for level in LEVELS] + [(m, -1.0 - k) for k in range(PERMUTATIONS)]
    assert len(method.calls) % len(keys) == 0
    starts = range(0, len(method.calls), len(keys))
    return [dict(zip(keys, method.calls[at : at + len(keys)], strict=True)) for at in starts]


@pytest.mark.parametrize("fusion", ["late-linear", "gated"])
@pytest.mark.parametrize(("count", "task"), [(2, CLASSES), (3, SCORES), (6, CLASSES)])
def test_inputs_are_disturbed_as_promised_and_predicted_as_by_plain_passes(count: int, task: Task, fusion: str) -> None:
    names = NAMES[:count]
    method, fit = trained(count, task, fusion=fusion)
    test = tiny_split(names, task, n=23, seed=5)
    deviation = deviations(fit.train, 0, 10)
    found = disturbed(method, fit.model, test, deviation, 8)
    chunks = variants(method, names)
    assert [len(chunk["", 0.0][0]) for chunk in chunks] == [8, 8, 7]
    for chunk in chunks:
        intact = chunk["", 0.0][0]
        for (m, number), (inputs, logits) in chunk.items():
            with torch.no_grad():
                torch.testing.assert_close(logits, fit.model(Inputs({**inputs.values})).logits)
            assert all(torch.equal(inputs.values[o], intact.values[o]) for o in names if o != m)
            if number < 0:
                same = (inputs.values[m][:, None] == intact.values[m][None]).all(-1)
                assert (same.sum(0) == 1).all()
                assert (same.sum(1) == 1).all()  # a permutation
                assert not same.diagonal().any()  # in which no sample keeps its own
            elif number > 0:
                unit = (inputs.values[m] - intact.values[m]) / number
                first = (chunk[m, LEVELS[0]][0].values[m] - intact.values[m]) / LEVELS[0]
                torch.testing.assert_close(unit, first, atol=1e-5, rtol=1e-4)  # one draw for all levels
    order = torch.cat([chunk["", 0.0][0].values[names[0]] for chunk in chunks])
    place = (order[:, None] == torch.as_tensor(test.values[names[0]])[None]).all(-1).int().argmax(1)
    assert sorted(place.tolist()) == list(range(23))
    assert torch.equal(found.target, test.labels[place])
    for m in names:
        for k in range(PERMUTATIONS):
            stacked = torch.cat([chunk[m, -1.0 - k][1] for chunk in chunks])
            assert torch.equal(found.exchanged[m][k], stacked)
        assert torch.equal(found.noisy[m, 2.0], torch.cat([chunk[m, 2.0][1] for chunk in chunks]))
    assert torch.equal(found.intact, torch.cat([chunk["", 0.0][1] for chunk in chunks]))


def test_noise_has_the_deviation_of_the_training_inputs_times_the_level() -> None:
    method, fit = trained(2)
    scales = torch.tensor([0.1, 1.0, 10.0, 100.0, 0.0])
    fit.train.values = {m: torch.as_tensor(x) * scales + 7 for m, x in fit.train.values.items()}
    deviation = deviations(fit.train, 0, 7)
    for m, x in fit.train.values.items():
        torch.testing.assert_close(deviation[m][0].numpy(), np.std(np.asarray(x, "float64"), 0), rtol=1e-5, atol=1e-6)
    disturbed(method, fit.model, tiny_split(n=900, seed=5), deviation, 300)
    chunks = variants(method, NAMES[:2])
    noisy = [chunk[NAMES[0], 2.0][0].values[NAMES[0]] for chunk in chunks]
    clean = [chunk["", 0.0][0].values[NAMES[0]] for chunk in chunks]
    drawn = torch.cat(noisy) - torch.cat(clean)
    torch.testing.assert_close(drawn.std(0), 2.0 * deviation[NAMES[0]][0].float(), rtol=0.1, atol=1e-4)
    assert (drawn.mean(0).abs() <= 0.2 * drawn.std(0) + 1e-4).all()


@pytest.mark.parametrize("count", [2, 6])
def test_encoders_see_each_sample_once_and_once_more_per_level(count: int) -> None:
    method, fit = trained(count)
    seen = dict.fromkeys(fit.model.modalities, 0)

    def counting(m: str) -> Callable[..., None]:
        def count_rows(_module: nn.Module, _inputs: object, features: Tensor) -> None:
            seen[m] += len(features)

        return count_rows

    for m, encoder in fit.model.encoders.items():
        encoder.register_forward_hook(counting(m))
    test = tiny_split(NAMES[:count], n=1200, seed=5)
    found = disturbed(method, fit.model, test, deviations(fit.train, 0, 10), 400)
    assert len(found.target) == 1000
    assert seen == dict.fromkeys(NAMES[:count], 1000 * (1 + len(LEVELS)))


def test_draws_depend_on_neither_the_order_of_modalities_nor_the_method() -> None:
    class Other(Asked):
        name = "other"

    found = []
    for cls, names in ((Asked, NAMES[:3]), (Other, NAMES[2::-1])):
        method = cls()
        fit = make_fit(method, names)
        fit.model.eval()
        test = tiny_split(names, n=12, seed=5)
        disturbed(method, fit.model, test, deviations(fit.train, 0, 10), 8)
        found.append([variants(method, names)])
    for first, second in zip(*(one for (one,) in found), strict=True):
        assert all(torch.equal(first[key][0].values[m], second[key][0].values[m]) for key in first for m in NAMES[:3])


def padded() -> Split:
    lengths = torch.tensor([1, 2, 3, 4, 4, 2])
    steps = torch.randn(6, 4, 2, generator=torch.Generator().manual_seed(0)) + torch.arange(6.0)[:, None, None]
    steps *= (torch.arange(4) < lengths[:, None])[..., None]
    plain = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    values = {NAMES[0]: plain, NAMES[1]: steps}
    return Split(values, torch.arange(6) % 3, list("abcdef"), lengths={NAMES[1]: lengths})


class Mean(nn.Module):
    """The mean of the real steps."""

    def forward(self, values: Tensor, lengths: Tensor | None) -> Tensor:
        assert lengths is not None
        real = torch.arange(values.shape[1]) < lengths[:, None]
        made: Tensor = ((values * real[..., None]).sum(1) / lengths[:, None]).repeat(1, 3)
        return made


def test_padding_stays_empty_and_lengths_go_with_their_samples() -> None:
    method, fit = trained(2)
    fit.model.encoders[NAMES[1]] = Mean()
    split, m = padded(), NAMES[1]
    deviation = deviations(split, 0, 4)
    real = np.concatenate([np.asarray(x)[:n] for x, n in zip(split.values[m], split.lengths[m], strict=True)])
    np.testing.assert_allclose(deviation[m].numpy().ravel(), real.std(0), rtol=1e-4)
    disturbed(method, fit.model, split, deviation, 6)
    (chunk,) = variants(method, NAMES[:2])
    intact = chunk["", 0.0][0]
    for (which, number), (inputs, logits) in chunk.items():
        x, lengths = inputs.values[m], inputs.lengths[m]
        assert (x[torch.arange(4) >= lengths[:, None]] == 0).all()
        if which != m or number >= 0:
            assert torch.equal(lengths, intact.lengths[m])
        else:
            place = (x[:, None] == intact.values[m][None]).flatten(2).all(-1).int().argmax(1)
            assert torch.equal(lengths, intact.lengths[m][place])
        with torch.no_grad():
            torch.testing.assert_close(logits, fit.model(Inputs({**inputs.values}, {**inputs.lengths})).logits)


class Layers(nn.Module):
    """An encoder that gives tokens and stages, and counts its passes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 6)
        self.rows = 0

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        self.rows += len(values)
        made: Tensor = self.layer(values)
        return made

    def tokens(self, values: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.layer(values)[:, None] * 2, torch.ones(len(values), 1, dtype=torch.bool)

    def stages(self, values: Tensor) -> list[Tensor]:
        return [values, self.layer(values).relu()]


class Reading(Fusion):
    """A head that reads tokens and stages."""

    reads = ("tokens", "stages")

    def __init__(self) -> None:
        super().__init__()
        self.slices = nn.ModuleDict()
        self.output = nn.Linear(6, 3)

    def forward(self, features: dict[str, Tensor]) -> Fused:
        total = torch.zeros(())
        for m, x in features.items():
            total = total + x + features.tokens[m][0][:, 0] * features.stages[m][-1]  # type: ignore[attr-defined]
        return Fused(self.output(total), None)


def test_heads_that_read_tokens_and_stages_get_those_of_the_exchanged_samples() -> None:
    method = Asked()
    fit = make_fit(method)
    fit.model.encoders = nn.ModuleDict({m: Layers() for m in NAMES[:2]})
    fit.model.fusion = Reading()
    fit.model.eval()
    disturbed(method, fit.model, tiny_split(n=8, seed=5), deviations(fit.train, 0, 10), 8)
    assert [encoder.rows for encoder in fit.model.encoders.values()] == [8 * (1 + len(LEVELS))] * 2  # type: ignore[union-attr]
    (chunk,) = variants(method, NAMES[:2])
    for inputs, logits in chunk.values():
        with torch.no_grad():
            torch.testing.assert_close(logits, fit.model(Inputs({**inputs.values})).logits)


def test_samples_on_disk_are_read_and_disturbed() -> None:
    scope: dict[str, Any] = {"__name__": "stored_rows"}
    exec(compile(SET, "stored_rows", "exec"), scope)
    splits = scope["Stored"]("").load("only", 0, 0, ["flow", "steps"])
    deviation = deviations(splits.train, 0, 10)
    everything = splits.train.batch(torch.arange(len(splits.train))).inputs
    flow = everything.values["flow"].double().numpy()
    np.testing.assert_allclose(deviation["flow"].numpy().ravel(), flow.std((0, 1, 3, 4)), rtol=1e-6)
    real = np.concatenate([x[:n] for x, n in zip(everything.values["steps"], everything.lengths["steps"], strict=True)])
    np.testing.assert_allclose(deviation["steps"].numpy().ravel(), real.std(0), rtol=1e-4)
    method = Asked()
    fit = make_fit(method, ("flow", "steps"))
    fit.model.encoders = nn.ModuleDict({m: Flat(m) for m in ("flow", "steps")})
    fit.model.eval()
    found = disturbed(method, fit.model, splits.test, deviation, 6)
    chunks = variants(method, ("flow", "steps"))
    assert len(chunks) == 3
    assert sorted(found.target.tolist()) == sorted(splits.test.labels.tolist())
    for chunk in chunks:
        for inputs, logits in chunk.values():
            with torch.no_grad():
                torch.testing.assert_close(logits, fit.model(Inputs({**inputs.values}, {**inputs.lengths})).logits)


class Flat(nn.Module):
    """Six numbers of a sample, whatever its shape."""

    def __init__(self, m: str) -> None:
        super().__init__()
        self.m = m

    def forward(self, values: Tensor, lengths: Tensor | None) -> Tensor:
        return values.flatten(1)[:, :6]


class Steep(Asked):
    """Needs the gradient of its inputs, so that no encoder's result may be reused."""

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        with torch.enable_grad():
            values = {m: x.clone().requires_grad_() for m, x in inputs.values.items()}
            outputs = model(inputs.replace(values))
            (slope,) = torch.autograd.grad(outputs.logits.sum(), values[NAMES[0]])
        outputs.logits = outputs.logits.detach() + slope.sum(1, keepdim=True)
        self.calls.append((Inputs({**inputs.values}), outputs.logits))
        return outputs


class Direct(Asked):
    """Calls an encoder itself, and changes the mapping that it is given."""

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        kept = Inputs({**inputs.values})
        outputs: Outputs = model(inputs)
        more = model.encoders[NAMES[0]](inputs.values.pop(NAMES[0]), None)
        outputs.logits = outputs.logits + more.sum(1, keepdim=True)
        self.calls.append((kept, outputs.logits))
        return outputs


@pytest.mark.parametrize("cls", [Steep, Direct])
def test_methods_that_predict_in_their_own_way_keep_their_predictions(cls: type[Asked]) -> None:
    method = cls()
    fit = make_fit(method)
    fit.model.eval()
    disturbed(method, fit.model, tiny_split(n=7, seed=5), deviations(fit.train, 0, 10), 7)
    calls = list(method.calls)
    for inputs, logits in calls:
        with torch.no_grad():
            again = method.predict(fit.model, Inputs({**inputs.values})).logits
        torch.testing.assert_close(logits, again)


@pytest.mark.parametrize("task", [CLASSES, SCORES], ids=["classes", "scores"])
def test_metrics_are_recomputed_by_numpy(task: Task) -> None:
    method, fit = trained(2, task)
    found = disturbed(method, fit.model, tiny_split(task=task, n=40, seed=5), deviations(fit.train, 0, 10), 16)
    missing: dict[str, str] = {}
    metrics = disturbed_metrics(found, task, missing)
    y = found.target.numpy()

    def accuracy(z: Tensor) -> float:
        return float((z.numpy().argmax(1) == y).mean())

    def error(z: Tensor) -> float:
        return float(np.abs(z.numpy()[:, 0].astype("float64") - y).mean())

    def correlation(z: Tensor) -> float:
        return float(np.corrcoef(z.numpy()[:, 0], y)[0, 1])

    scores: dict[str, Callable[[Tensor], float]] = {"mae": error, "pearson": correlation}
    if not task.regression:
        scores = {"accuracy": accuracy}
    expected = {}
    for name, score in scores.items():
        expected[f"intact/{name}"] = intact = score(found.intact)
        for m in NAMES[:2]:
            expected |= {f"noise/{m}/{level:g}/{name}": score(found.noisy[m, level]) for level in LEVELS}
            expected[f"permuted/{m}/{name}"] = permuted = float(np.mean([score(z) for z in found.exchanged[m]]))
            if name != "mae":
                expected[f"perceptual/{m}/{name}"] = (intact - permuted) / intact
    assert metrics == pytest.approx(expected, abs=1e-6)
    assert missing == {}


def test_what_is_not_finite_is_missing_and_one_sample_cannot_be_exchanged() -> None:
    method, fit = trained(2)
    deviation = deviations(fit.train, 0, 10)
    found = disturbed(method, fit.model, tiny_split(n=9, seed=5), deviation, 4)
    found.noisy[NAMES[0], 1.0] = found.noisy[NAMES[0], 1.0].clone().fill_(torch.nan)
    missing: dict[str, str] = {}
    metrics = disturbed_metrics(found, CLASSES, missing)
    assert missing == {f"noise/{NAMES[0]}/1/accuracy": "its logits are not finite"}
    assert f"noise/{NAMES[0]}/1/accuracy" not in metrics
    with pytest.raises(ValueError, match="one sample"):
        disturbed(method, fit.model, tiny_split(n=1, seed=5), deviation, 4)
