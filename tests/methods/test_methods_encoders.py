"""Every registered method with encoders that keep running statistics and with padded sequences, also in bf16."""

import copy
import itertools
import math

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.core.seeds import generator, initialise
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.models.build import build_model
from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel
from mcr_bench.bench.planning.heads import usual_head
from mcr_bench.bench.settings.declaration import build
from mcr_bench.bench.settings.training import EncoderSettings, ModelSettings, TrainingSettings
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, step, whole_batch
from mcr_bench.bench.training.optim import make_optimizer
from mcr_bench.datasets.base import Modality, Split
from mcr_bench.methods.agm import Agm
from mcr_bench.methods.base import Method

TRAINED = [n for n in registry.method_names() if registry.method(n).trains]
FROM_SCRATCH = [
    n for n in TRAINED if registry.method(n).role != "unimodal" and not registry.method(n)().requires(NAMES)
]
SHAPES = {"resnet18": (1, 32, 32), "conv1d": (9, 4), "transformer": (9, 4)}


def split_of(kind: str, names: tuple[str, ...], dtype: torch.dtype) -> Split:
    """Eight samples of three classes; sequences of 1 to 9 steps with noise as padding."""
    target = torch.arange(8) % 3
    values = {m: torch.randn(8, *SHAPES[kind], generator=generator(0, "data", m)) for m in names}
    shifted = {m: (x + 0.5 * target.view(8, *[1] * (x.ndim - 1))).to(dtype) for m, x in values.items()}
    lengths = {m: torch.randint(1, 10, (8,), generator=generator(1, "data", m)) for m in names}
    return Split(shifted, target, [f"s{i}" for i in range(8)], None, {} if kind == "resnet18" else lengths)


def fit_of(
    name: str, kind: str, names: tuple[str, ...] = NAMES[:2], dtype: torch.dtype = torch.float32, **options
) -> tuple[Fit, Method]:
    method = build(registry.method(name), options.pop("values", {}))
    names = method.variants(names)[0]
    dependencies = []
    for required in method.requires(names):
        fit, alone = fit_of(required.method, kind, required.modalities, dtype)
        step(alone)
        dependencies.append(fit.model.state_dict())
    data = split_of(kind, names, dtype)
    shapes = {m: Modality(SHAPES[kind], padded=m in data.lengths) for m in names}
    head = usual_head(registry.method(name)).name
    encoders = dict.fromkeys(names, build(EncoderSettings, {"kind": kind, "width": 8}))
    model = build_model(shapes, Task(3), build(ModelSettings, {"width": 8, "fusion": head}), encoders)
    method.build(model)
    for part in model.fusion.modules():
        if isinstance(part, torch.nn.Dropout):  # its draws go on from one fit to the next
            part.p = 0.0
    initialise(model, 0)
    model.to(dtype)
    settings = build(TrainingSettings, {k.replace("__", "."): v for k, v in options.items()})
    method.fit = Fit(model, Task(3), settings, data, data, 0, torch.device("cpu"), dependencies)
    method.on_fit_start()
    method.fit.optimizer = make_optimizer(method.parameter_groups(model), settings.optimizer)
    return method.fit, method


def moved(before: dict[str, Tensor], fit: Fit) -> set[str]:
    """The rooms of the model in which a parameter or buffer changed."""
    return {n.partition(".")[0] for n, v in fit.model.state_dict().items() if not torch.equal(v, before[n])}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("name", TRAINED)
def test_methods_train_any_encoder_in_any_precision(name: str, kind: str, precision: str) -> None:
    fit, method = fit_of(name, kind, precision=precision, optimizer__name="adamw", clip_norm=1.0)
    before = copy.deepcopy(fit.model.state_dict())
    step(method)
    step(method, fit.train.batch(torch.tensor([3])))
    assert moved(before, fit)
    assert all(v.isfinite().all() for v in fit.model.state_dict().values())
    assert all(math.isfinite(v) for v in fit.meters.means().values())


@pytest.mark.parametrize("kind", ["conv1d", "transformer"])
@pytest.mark.parametrize("name", TRAINED)
def test_what_the_padding_holds_changes_nothing(name: str, kind: str) -> None:
    states = []
    for padding in (0.0, 50.0):
        fit, method = fit_of(name, kind, optimizer__name="sgd")
        for m, x in fit.train.values.items():
            x.masked_fill_(~fit.train.mask(m), padding)
        step(method)
        states.append(fit.model.state_dict())
    for key, tensor in states[0].items():
        assert torch.equal(tensor, states[1][key]), key


@pytest.mark.parametrize("perturb", ["noise_input", "zero_input"])
@pytest.mark.parametrize("kind", ["conv1d", "transformer"])
def test_perturbed_inputs_keep_the_lengths_of_their_samples(kind: str, perturb: str) -> None:
    """Without noise nothing is perturbed; zeros give each sample what a zero sequence of its length gives."""
    values = {"perturb": perturb, "noise_scale": 0.0, "permutations": 3, "lambda_mipd": 1.0}
    fit, method = fit_of("mcr", kind, dtype=torch.float64, values=values)
    fit.model.train()
    batch = whole_batch(fit)
    found = -method.loss(method.forward(batch), batch)["mipd"].item()
    model, expected = fit.model, 0.0
    whole = model(batch.inputs).logits.log_softmax(-1)
    for m, x in batch.inputs.values.items():
        changed = batch.inputs.replace({m: torch.zeros_like(x) if perturb == "zero_input" else x})
        other = model(changed).logits.log_softmax(-1)
        middle = torch.logaddexp(whole, other) - math.log(2)
        divergence = 0.5 * (whole.exp() * (whole - middle) + other.exp() * (other - middle))
        expected += divergence.sum(-1).mean().item()
    assert math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-12)
    assert (expected > 1e-6) == (perturb == "zero_input")


@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_running_statistics_see_each_batch_once(name: str) -> None:
    if usual_head(registry.method(name)).reads:
        pytest.skip("its fusion head reads tokens, which are made by another pass")
    (plain, joint), (fit, method) = fit_of("joint", "resnet18"), fit_of(name, "resnet18")
    step(joint)
    step(method)
    theirs = dict(plain.model.named_buffers())
    assert any(key.endswith("running_var") and not torch.equal(v, torch.ones_like(v)) for key, v in theirs.items())
    learning = [m for m in NAMES[:2] if any(p.grad is not None for p in fit.model.parameters_of(m, "encoder"))]
    initial = dict(fit_of("joint", "resnet18")[0].model.named_buffers())
    assert learning
    for key, mine in fit.model.encoders.named_buffers("encoders"):
        assert torch.equal(mine, (theirs if key.split(".")[1] in learning else initial)[key]), key


def test_frozen_encoders_keep_their_running_statistics() -> None:
    fit, method = fit_of("uni-pre-frozen", "resnet18")
    before = copy.deepcopy(fit.model.state_dict())
    for _ in range(3):
        step(method)
    assert any("running_mean" in key for key in before)
    assert moved(before, fit) == {"fusion"}


def official_gradients(model: MultimodalModel, inputs: Inputs, target: Tensor, kappa: dict[str, float]) -> None:
    """AGM as published: one network pass per subset, first the full one in training mode; fills every `grad`.

    z_m by orders of arrival, L = CE(sum_m z_m, y); kappa_m acts on the part of the gradient that comes through z_m.
    """
    names, worth = model.modalities, {frozenset[str](): torch.zeros(())}
    for size in range(len(names), 0, -1):
        for chosen in map(frozenset, itertools.combinations(names, size)):
            model.train(size == len(names))
            zeros = {m: torch.zeros_like(x) for m, x in inputs.values.items() if m not in chosen}
            worth[chosen] = model(inputs.replace(zeros)).logits
    orders = list(itertools.permutations(names))
    total = worth[frozenset(names)].detach().requires_grad_()
    (arriving,) = torch.autograd.grad(torch.nn.functional.cross_entropy(total, target), total)
    surrogate = torch.zeros((), dtype=total.dtype)
    for order, position in itertools.product(orders, range(len(names))):
        m, here = order[position], frozenset(order[:position])
        surrogate = surrogate + kappa[m] * ((worth[here | {m}] - worth[here]) * arriving).sum() / len(orders)
    surrogate.backward()


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("kind", ["resnet18", "conv1d"])
def test_official_agm_equals_one_network_pass_per_subset(kind: str, count: int) -> None:
    fit, method = fit_of(
        "agm", kind, NAMES[:count], torch.float64, values={"masked_pass": "official", "alpha": 3.0, "clip": False}
    )
    assert isinstance(method, Agm)
    method.load_state_dict({"means": {m: torch.tensor(0.3 * i) for i, m in enumerate(NAMES[:count])}, "steps": 4})
    reference = copy.deepcopy(fit.model)
    step(method)
    means = fit.meters.means()
    kappa = {m: means[f"coefficient/{m}"] for m in NAMES[:count]}
    assert max(kappa.values()) > 1.3 * min(kappa.values())
    batch = whole_batch(fit)
    official_gradients(reference, batch.inputs, batch.target, kappa)
    for (name, p), theirs in zip(fit.model.named_parameters(), reference.parameters(), strict=True):
        if theirs.grad is not None:
            torch.testing.assert_close(p.grad, theirs.grad, rtol=1e-8, atol=1e-12, msg=name)
