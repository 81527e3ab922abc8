"""Subsets of the modalities: each input is read and encoded once, and predictions are those of separate passes."""

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.models.fusion import Fused, Fusion
from mcr_bench.bench.models.memory import EncoderMemory
from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel, Outputs
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.problem.shapley import shapley_plan
from mcr_bench.bench.runs.events import Event, Job, RunDone
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, tiny_split
from mcr_bench.bench.training import loop
from mcr_bench.bench.training.evaluation import absent_inputs, evaluate, subset_logits
from mcr_bench.bench.training.subsets import Subsets
from mcr_bench.datasets.base import Batch, Split
from mcr_bench.methods.base import Method
from mcr_bench.methods.joint import Joint

Logits = dict[tuple[str, ...], Tensor]


def trained(method: Method, count: int, **options: Any) -> Fit:
    """A fit after two steps, in evaluation mode."""
    fit = make_fit(method, NAMES[:count], **options)
    for _ in range(2):
        step(method)
    fit.model.eval()
    return fit


@torch.no_grad()
def one_by_one(method: Method, fit: Fit, split: Split, chunk: int, subsets: Iterable[tuple[str, ...]]) -> Logits:
    """Each subset from passes of its own over the samples, the absent inputs repeated for every chunk."""
    names = fit.model.modalities
    absent = absent_inputs(fit.train)
    made: Logits = {}
    for subset in subsets:
        rows = []
        for index in torch.arange(len(split)).split(chunk):
            inputs = split.batch(index).inputs
            for m in set(names) - set(subset):
                inputs.values[m] = absent.values[m].expand_as(inputs.values[m])
            rows.append(method.predict(fit.model, inputs).logits.float())
        made[subset] = fit.model.task.user(torch.cat(rows))
    return made


@contextmanager
def counted(model: MultimodalModel) -> Iterator[dict[str, list[int]]]:
    """Modality -> the sizes of the batches that pass through its encoder inside the block."""
    sizes: dict[str, list[int]] = {m: [] for m in model.encoders}

    def count(m: str) -> Callable[..., None]:
        return lambda _module, _inputs, features: sizes[m].append(len(features))

    handles = [encoder.register_forward_hook(count(m)) for m, encoder in model.encoders.items()]
    try:
        yield sizes
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("fusion", ["late-linear", "gated"])
@pytest.mark.parametrize("chunk", [1, 4, 100])
@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_predictions_are_those_of_passes_of_their_own(count: int, chunk: int, fusion: str) -> None:
    method = Joint()
    fit = trained(method, count, fusion=fusion)
    val = tiny_split(NAMES[:count], n=11, seed=5)
    shared = subset_logits(method, fit.model, val, absent_inputs(fit.train), chunk)
    apart = one_by_one(method, fit, val, chunk, shared)
    assert shared.keys() == apart.keys()
    assert all(torch.equal(shared[s], apart[s]) for s in shared)


@pytest.mark.parametrize("rule", ["probabilities", "logits", "standardised"])
def test_predictions_of_an_ensemble_too(rule: str) -> None:
    cls = registry.method("ensemble")
    states = [make_fit(Joint(), (m,)).model.state_dict() for m in NAMES[:3]]
    method = cls(rule=rule)
    fit = make_fit(method, NAMES[:3], dependencies=states, batch_size=3)
    fit.model.eval()
    val = tiny_split(NAMES[:3], n=11, seed=5)
    shared = subset_logits(method, fit.model, val, absent_inputs(fit.train), 6)
    apart = one_by_one(method, fit, val, 6, shared)
    assert all(torch.equal(shared[s], apart[s]) for s in shared)


@pytest.mark.parametrize("count", [2, 4, 6])
def test_every_encoder_sees_each_sample_once_and_the_absent_input_once_per_size(count: int) -> None:
    method = Joint()
    fit = trained(method, count)
    val = tiny_split(NAMES[:count], n=11, seed=5)
    plain = evaluate(method, fit.model, val, None, 4)
    with counted(fit.model) as sizes:
        collected = Subsets(method, fit.model, absent_inputs(fit.train))
        found = evaluate(method, fit.model, val, None, 4, collected)
        subsets = subset_logits(method, fit.model, val, absent_inputs(fit.train), 4, collected)
    assert torch.equal(found.logits, plain.logits)
    assert len(subsets) == {2: 3, 4: 15, 6: 31}[count]
    for m in NAMES[:count]:
        assert sorted(sizes[m]) == [3, 3, 4, 4, 4]  # the samples, and the absent input in two sizes
    assert all(torch.equal(subsets[s], z) for s, z in one_by_one(method, fit, val, 4, subsets).items())


def test_six_modalities_take_31_fusion_passes_a_chunk() -> None:
    method = Joint()
    fit = trained(method, 6)
    chosen, _ = shapley_plan(NAMES, torch.Generator().manual_seed(0))
    passes: list[int] = []
    handle = fit.model.fusion.register_forward_hook(lambda *_: passes.append(1))
    subset_logits(method, fit.model, tiny_split(NAMES, n=11), absent_inputs(fit.train), 4)
    handle.remove()
    assert len(passes) == 3 * (len(chosen) - 1) == 93


def test_samples_of_a_part_are_read_once() -> None:
    method = Joint()
    fit = trained(method, 3)
    val = tiny_split(NAMES[:3], n=11, seed=5)
    asked: list[int] = []

    class Counting(Split):
        def batch(self, index: Tensor) -> Any:
            asked.extend(index.tolist())
            return super().batch(index)

    absent = absent_inputs(fit.train)
    collected = Subsets(method, fit.model, absent)
    part = Counting(val.values, val.target, val.ids)
    evaluate(method, fit.model, part, None, 4, collected)
    subset_logits(method, fit.model, part, absent, 4, collected)
    assert asked == list(range(11))


class Twice(Joint):
    """Asks the model twice, under other weights in between, as an average over checkpoints does."""

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        first = model(inputs)
        kept = {k: v.clone() for k, v in model.state_dict().items()}
        model.load_state_dict({k: 0.5 * v for k, v in kept.items()})
        second = model(inputs)
        model.load_state_dict(kept)
        first.logits = first.logits + second.logits
        return first


class Changing(Joint):
    """Writes into the features that the model gives."""

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        features = model.encode(inputs)
        for x in features.values():
            x.mul_(0.5)
        return model.fuse(features)


class Steep(Joint):
    """Needs the gradient of its inputs."""

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        with torch.enable_grad():
            values = {m: x.clone().requires_grad_() for m, x in inputs.values.items()}
            outputs = model(inputs.replace(values))
            (slope,) = torch.autograd.grad(outputs.logits.sum(), values[NAMES[0]])
            again = model(inputs)
            assert again.logits.requires_grad
        outputs.logits = outputs.logits.detach() + slope.sum(1, keepdim=True)
        return outputs


class Dropping(Joint):
    """Averages passes with dropout."""

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        torch.manual_seed(5)
        model.encoders.train()
        outputs, other = model(inputs), model(inputs)
        model.encoders.eval()
        outputs.logits = outputs.logits + other.logits
        return outputs


class Elsewhere(Joint):
    """Gives the model other inputs, and calls an encoder itself."""

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        outputs = model(inputs.replace({m: x + 1 for m, x in inputs.values.items()}))
        more = model.encoders[NAMES[0]](inputs.values[NAMES[0]], None)
        outputs.logits = outputs.logits + more.sum(1, keepdim=True)
        return outputs


class Rewriting(Joint):
    """Replaces inputs in the mapping that it is given."""

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        inputs.values[NAMES[0]] = inputs.values[NAMES[0]] * 0.5
        outputs: Outputs = model(inputs)
        return outputs


@pytest.mark.parametrize("cls", [Rewriting, Twice, Changing, Steep, Dropping, Elsewhere])
def test_methods_that_predict_in_their_own_way_keep_their_predictions(cls: type[Method]) -> None:
    method = cls()
    fit = trained(method, 2)
    fit.model.encoders = nn.ModuleDict({m: WithDropout(encoder) for m, encoder in fit.model.encoders.items()}).eval()
    val = tiny_split(n=7, seed=5)
    absent = absent_inputs(fit.train)
    collected = Subsets(method, fit.model, absent)
    found = evaluate(method, fit.model, val, None, 3, collected)
    assert torch.equal(found.logits, evaluate(method, fit.model, val, None, 3).logits)
    shared = collected.logits()
    apart = one_by_one(method, fit, val, 3, shared)
    assert all(torch.equal(z, apart[s]) for s, z in shared.items())


class WithDropout(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.dropout = encoder, nn.Dropout(0.5)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        made: Tensor = self.dropout(self.encoder(values, lengths))
        return made


class Layers(nn.Module):
    """An encoder that gives tokens and stages, and counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 6)
        self.asked: list[str] = []

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        self.asked.append("features")
        made: Tensor = self.layer(values)
        return made

    def tokens(self, values: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.asked.append("tokens")
        return self.layer(values)[:, None], torch.ones(len(values), 1, dtype=torch.bool)

    def stages(self, values: Tensor) -> list[Tensor]:
        self.asked.append("stages")
        return [values, self.layer(values).relu()]


class Reading(Fusion):
    """A head that reads tokens and stages, and takes the list of stages apart."""

    reads = ("tokens", "stages")

    def __init__(self) -> None:
        super().__init__()
        self.slices = nn.ModuleDict()
        self.output = nn.Linear(6, 3)

    def forward(self, features: dict[str, Tensor]) -> Fused:
        total = torch.zeros(())
        for m, x in features.items():
            stages = features.stages[m]  # type: ignore[attr-defined]
            total = total + x + features.tokens[m][0][:, 0] * stages.pop()  # type: ignore[attr-defined]
        return Fused(self.output(total), None)


def test_tokens_and_stages_are_made_once_too() -> None:
    method = Joint()
    fit = make_fit(method)
    fit.model.encoders = nn.ModuleDict({m: Layers() for m in NAMES[:2]})
    fit.model.fusion = Reading()
    fit.model.eval()
    val = tiny_split(n=8, seed=5)
    asked = {m: encoder.asked for m, encoder in fit.model.encoders.items()}
    shared = subset_logits(method, fit.model, val, absent_inputs(fit.train), 4)
    for m in NAMES[:2]:
        assert sorted(asked[m]) == ["features"] * 3 + ["stages"] * 3 + ["tokens"] * 3  # two chunks, and the absent one
    apart = one_by_one(method, fit, val, 4, shared)
    assert all(torch.equal(shared[s], apart[s]) for s in shared)


def test_inputs_and_features_of_a_chunk_are_let_go() -> None:
    method = Joint()
    fit = trained(method, 2)
    val = tiny_split(n=24, seed=5)
    alive: list[weakref.ref[Tensor]] = []
    most: list[int] = []

    class Watched(Split):
        def batch(self, index: Tensor) -> Batch:
            most.append(sum(one() is not None for one in alive))
            batch = super().batch(index)
            alive.extend(weakref.ref(x) for x in batch.inputs.values.values())
            return batch

    absent = absent_inputs(fit.train)
    part = Watched(val.values, val.target, val.ids)
    collected = Subsets(method, fit.model, absent)
    evaluate(method, fit.model, part, None, 4, collected)
    assert max(most) <= 2  # the inputs of one chunk
    assert not any(one() is not None for one in alive)


def test_a_memory_sees_every_change() -> None:
    encoder, memory, values = nn.Linear(3, 2), EncoderMemory(), torch.randn(4, 3)
    encoder.eval()
    runs: list[int] = []

    def ask() -> Tensor:
        def make() -> Tensor:
            runs.append(1)
            made: Tensor = encoder(values)
            return made

        return memory.recall("features", encoder, values, None, make)

    def again() -> bool:
        before = len(runs)
        assert torch.equal(ask(), encoder(values))
        return len(runs) > before

    with torch.no_grad():
        assert again()
        assert not again()
        values.add_(1)
        assert again()
        encoder.weight.mul_(2)
        assert again()
        encoder.weight.data = torch.randn(2, 3)
        assert again()
        ask().zero_()
        assert again()
        encoder.train()
        assert again()
        encoder.eval()
        assert not again()
        with torch.enable_grad():
            assert again()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert again()
        assert again()
        memory.forget_all_but([Inputs({"x": values})])
        assert not again()
        memory.forget_all_but([Inputs({"x": values.clone()})])
        assert again()


def test_a_subset_that_fails_leaves_the_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A method that cannot predict without a modality keeps its metrics, and the reason is on record."""
    file = tmp_path / "rings.npz"
    y = np.arange(60) % 3
    split = np.array(["train", "val", "test"])[np.arange(60) // 20]
    rng = np.random.default_rng(0)
    np.savez(file, y=y, split=split, **{f"x_{m}": rng.normal(size=(60, 4)).astype("float32") for m in "ab"})
    overrides = {"epochs": ["1"], "encoder.width": ["8"], "model.width": ["6"]}
    (spec,) = make_plan(Request(["joint"], [str(file)], seeds=[0], overrides=overrides)).runs
    predict = Joint.predict

    def picky(self: Method, model: MultimodalModel, inputs: Inputs) -> Outputs:
        if any(x.stride(0) == 0 for x in inputs.values.values()):
            raise ValueError("an input is absent")
        return predict(self, model, inputs)

    monkeypatch.setattr(Joint, "predict", picky)
    events: list[Event] = []
    loop.fit_run(Job(spec, "cpu", tmp_path / "work", {}, tmp_path / "weights.pt"), events.append)
    done = next(e for e in events if isinstance(e, RunDone))
    assert "test/accuracy" in done.metrics
    assert "an input is absent" in done.tags["missing"]
    assert not [name for name in done.metrics if "contribution" in name]
