"""What every registered method must do, ours and third parties': runs over the registry, so a new file is covered."""

import copy
import dataclasses

import pytest
import torch
from torch import Tensor

from mcr_bench.bench import settings
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.models.multimodal import Inputs
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, whole_batch
from mcr_bench.methods.base import Method, Neutral

METHODS = registry.method_names()
TRAINED = [n for n in METHODS if registry.method(n).trains]
SCALING = [n for n in METHODS if registry.method(n).scales_gradients]
TASKS = {"classification": Task(3), "regression": Task(None)}
NEUTRAL = [(n, neutral) for n in METHODS for neutral in registry.method(n).neutral]
FROM_SCRATCH = [
    n for n in TRAINED if registry.method(n).role != "unimodal" and not registry.method(n)().requires(NAMES)
]


def fit_of(name: str, modalities: tuple[str, ...] = NAMES[:2], task: Task = TASKS["classification"], **options) -> Fit:
    """A fit of a registered method with settings given as `values`; the runs that it requires are made on the way."""
    method: Method = settings.build(registry.method(name), options.pop("values", {}))
    allowed = method.variants(modalities)[0]
    dependencies = [trained(r.method, r.modalities, task, options.get("dtype")) for r in method.requires(allowed)]
    return make_fit(method, allowed, task, dependencies=dependencies, **options), method


def trained(name: str, modalities: tuple[str, ...], task: Task, dtype: torch.dtype | None) -> dict[str, Tensor]:
    """The weights of a dependency after one step."""
    fit, method = fit_of(name, modalities, task, dtype=dtype or torch.float32)
    step(method)
    return fit.model.state_dict()


def allows(name: str, count: int, task: Task) -> bool:
    """Whether the method's declared needs admit so many modalities and this task."""
    needs = registry.method(name).needs
    return needs.at_least <= count <= needs.at_most and not (needs.classification and task.regression)


def require(name: str, count: int, task: Task) -> None:
    """Skip the test where the method's declared needs do not admit so many modalities or this task."""
    if not allows(name, count, task):
        kind = "regression" if task.regression else "classification"
        pytest.skip(f"{name} does not take {count} modalities of {kind}")


def compared(fit: Fit, other: Fit) -> list[tuple[str, Tensor, Tensor]]:
    """Parameters of both: all of encoders and fusion head, and own heads where both methods train them."""
    mine, theirs = fit.model.state_dict(), other.model.state_dict()
    return [(k, v, theirs[k]) for k, v in mine.items() if k in theirs]


@pytest.mark.parametrize(("name", "neutral"), NEUTRAL, ids=[f"{n}-{dict(x.settings)}" for n, x in NEUTRAL])
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_neutral_settings_equal_the_simpler_method(name: str, neutral: Neutral, count: int, optimizer: str) -> None:
    require(name, count, TASKS["classification"])
    dtype = torch.float64 if neutral.tolerance else torch.float32
    options = {"dtype": dtype, "optimizer__name": optimizer, "optimizer__lr": 0.05}
    fit, method = fit_of(name, NAMES[:count], values=neutral.settings, **options)
    plain_fit, plain = fit_of(neutral.equals, NAMES[:count], **options)
    before = copy.deepcopy(fit.model.state_dict())
    for _ in range(5):
        step(method)
        step(plain)
    own = method.needs.own_heads and plain.needs.own_heads
    pairs = [p for p in compared(fit, plain_fit) if own or not p[0].startswith("own_heads.")]
    assert any(not torch.equal(before[key], mine) for key, mine, _ in pairs)
    for key, mine, theirs in pairs:
        torch.testing.assert_close(mine, theirs, rtol=0, atol=neutral.tolerance, msg=lambda m, k=key: f"{k}: {m}")
    assert neutral.tolerance == 0 or neutral.reason


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("name", TRAINED)
def test_gradients_are_finite_for_any_number_of_modalities(name: str, count: int, task: Task) -> None:
    require(name, count, task)
    fit, method = fit_of(name, NAMES[:count], task)
    step(method)
    gradients = [p.grad for p in fit.model.parameters() if p.grad is not None]
    assert gradients
    assert all(g.isfinite().all() for g in gradients)
    assert any(g.any() for g in gradients)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize("name", TRAINED)
def test_a_batch_of_one_trains(name: str, task: Task) -> None:
    require(name, 2, task)
    fit, method = fit_of(name, task=task)
    step(method, fit.train.batch(torch.tensor([1])))
    assert all(p.isfinite().all() for p in fit.model.parameters())


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize("name", TRAINED)
def test_saturated_logits_stay_finite(name: str, task: Task) -> None:
    require(name, 2, task)
    fit, method = fit_of(name, task=task)
    for encoder in fit.model.encoders.values():
        encoder.register_forward_hook(lambda _module, _inputs, features: features * 1e4)
    for _ in range(2):
        step(method)
        assert all(p.isfinite().all() for p in fit.model.parameters())
    assert all(torch.isfinite(torch.tensor(v)) for v in fit.meters.means().values())


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", METHODS)
def test_the_order_of_modalities_does_not_matter(name: str, count: int) -> None:
    names = NAMES[:count]
    if not allows(name, count, TASKS["classification"]) or len(registry.method(name).variants(names)[0]) == 1:
        pytest.skip(f"{name} does not take {count} modalities")
    fits = [fit_of(name, order, dtype=torch.float64, optimizer__name="sgd") for order in (names, names[::-1])]
    for fit, method in fits:
        for _ in range(3 * method.trains):
            step(method)
        fit.model.eval()
    (fit, method), (other, reversed_method) = fits
    for key, mine, theirs in compared(fit, other):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-9, msg=lambda m, k=key: f"{k}: {m}")
    logits = method.predict(fit.model, whole_batch(fit).inputs).logits
    torch.testing.assert_close(logits, reversed_method.predict(other.model, whole_batch(other).inputs).logits)


@pytest.mark.parametrize("name", TRAINED)
def test_a_restored_training_continues_bit_equal(name: str) -> None:
    fit, method = fit_of(name)
    again, restored = fit_of(name)
    for _ in range(2):
        step(method)
    again.model.load_state_dict(copy.deepcopy(fit.model.state_dict()))
    again.optimizer.load_state_dict(copy.deepcopy(fit.optimizer.state_dict()))
    restored.load_state_dict(copy.deepcopy(method.state_dict()))
    again.epoch, again.step = fit.epoch, fit.step
    for _ in range(2):
        step(method)
        step(restored)
    for key, mine, theirs in compared(fit, again):
        assert torch.equal(mine, theirs), key


@pytest.mark.parametrize("name", TRAINED)
def test_training_lowers_the_loss(name: str) -> None:
    fit, method = fit_of(name, optimizer__name="sgd", optimizer__lr=0.02)

    def loss() -> float:
        fit.model.eval()
        with torch.no_grad():
            return float(fit.task.loss(method.predict(fit.model, whole_batch(fit).inputs).logits, fit.train.target))

    before = loss()
    for _ in range(30):
        step(method)
    assert loss() < before


@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_all_methods_start_from_the_same_logits(name: str) -> None:
    fit, method = fit_of(name)
    plain_fit, plain = fit_of("joint")
    fit.model.eval()
    mine = method.predict(fit.model, whole_batch(fit).inputs).logits
    assert torch.equal(mine, plain.predict(plain_fit.model, whole_batch(plain_fit).inputs).logits)


@pytest.mark.parametrize("name", SCALING)
def test_coefficients_of_every_modality_are_logged(name: str) -> None:
    fit, method = fit_of(name, NAMES[:3] if allows(name, 3, TASKS["classification"]) else NAMES[:2])
    step(method)
    logged = fit.meters.means()
    assert {f"coefficient/{m}" for m in fit.model.modalities} <= logged.keys()


@pytest.mark.parametrize("name", METHODS)
def test_a_prediction_takes_one_sample_and_gives_logits(name: str) -> None:
    fit, method = fit_of(name)
    values = {m: x[:1] for m, x in fit.train.values.items()}
    fit.model.eval()
    assert method.predict(fit.model, Inputs(values)).logits.shape == (1, 3)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_documented(name: str) -> None:
    cls = registry.method(name)
    assert cls.name == name
    assert cls.reference.title
    assert cls.reference.venue
    assert cls.__doc__
    assert not cls.__doc__.startswith(f"{cls.__name__}("), "the dataclass wrote it, nobody did"
    fields = {f.name for f in dataclasses.fields(cls) if f.init} - {"fit"}
    assert fields == {key.partition(".")[0] for key in settings.declared(cls)}
    for declared in settings.declared(cls).values():
        assert declared.doc, declared.key
        assert declared.origin, declared.key
    for neutral in cls.neutral:
        settings.resolve(cls, neutral.settings)
        assert neutral.equals in METHODS
