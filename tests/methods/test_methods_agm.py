"""AGM: the three facts about where its coefficients act, attribution against permutations, coefficients by hand."""

import math

import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.models.multimodal import Inputs
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, whole_batch
from mcr_bench.methods.agm import Agm
from mcr_bench.methods.joint import Joint
from mcr_bench.methods.terms.attribution import agm_coefficients, attribute
from mcr_bench.methods.terms.clipping import clip_if_large

SGD = {"optimizer__name": "sgd", "dtype": torch.float64}
KAPPA = (0.2, 1.7)


def encoder_gradients(fit: Fit) -> dict[str, Tensor]:
    named = fit.model.encoders.named_parameters()
    return {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in named}


def with_kappa(monkeypatch: pytest.MonkeyPatch, method: Agm, kappa: tuple[float, ...] = KAPPA) -> dict[str, Tensor]:
    """Encoder gradients of one step whose coefficients are given."""
    fit = make_fit(method, NAMES[: len(kappa)], **SGD)
    given = [torch.tensor(k, dtype=torch.float64) for k in kappa]
    monkeypatch.setattr(method, "kappas", lambda _shares, _target: given)
    step(method)
    return encoder_gradients(fit)


def joint_gradients(count: int = 2) -> dict[str, Tensor]:
    method = Joint()
    fit = make_fit(method, NAMES[:count], **SGD)
    step(method)
    return encoder_gradients(fit)


def zero_input_gradients(m: str) -> dict[str, Tensor]:
    """Gradient of the joint loss through encoder m if its input were zero: d loss / d logits x d logits / d E_m(0)."""
    fit = make_fit(Joint(), **SGD)
    batch, model = whole_batch(fit), fit.model
    logits = model(batch.inputs).logits
    (arriving,) = torch.autograd.grad(fit.task.loss(logits, batch.target), logits)
    features = model.encode_one(m, torch.zeros_like(batch.inputs.values[m]))
    features.backward(arriving @ model.fusion.slices[m].weight)
    return encoder_gradients(fit)


def test_detached_zero_path_scales_the_joint_gradient_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = joint_gradients()
    scaled = with_kappa(monkeypatch, Agm(zero_path="detach", clip=False))
    for name, g in plain.items():
        torch.testing.assert_close(scaled[name], g * KAPPA[NAMES.index(name.split(".")[0])], rtol=1e-9, atol=1e-15)


def test_zero_path_adds_half_the_difference_times_the_zero_input_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, scaled = joint_gradients(), with_kappa(monkeypatch, Agm(zero_path="grad", clip=False))
    for i, m in enumerate(NAMES[:2]):
        at_zero = zero_input_gradients(m)
        for name, g in plain.items():
            if name.startswith(m):
                expected = KAPPA[i] * g + 0.5 * (KAPPA[1 - i] - KAPPA[i]) * at_zero[name]
                torch.testing.assert_close(scaled[name], expected, rtol=1e-9, atol=1e-15)
        assert any(g.any() for g in at_zero.values())


def test_the_coefficients_do_not_collapse_to_their_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """With whole masked passes under no_grad every encoder would get 0.95 times the joint gradient."""
    plain = joint_gradients()
    for method in (Agm(clip=False), Agm(zero_path="detach", clip=False), Agm(masked_pass="official", clip=False)):
        scaled = with_kappa(monkeypatch, method)
        for name, g in plain.items():
            assert not torch.allclose(scaled[name], 0.95 * g, rtol=1e-3), (method.masked_pass, name)


def test_official_passes_equal_reused_ones_where_nothing_depends_on_the_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    kappa = (0.2, 1.7, 0.9)
    reused = with_kappa(monkeypatch, Agm(clip=False), kappa)
    official = with_kappa(monkeypatch, Agm(masked_pass="official", clip=False), kappa)
    for name, g in reused.items():
        torch.testing.assert_close(official[name], g, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("official", [False, True])
def test_contributions_add_up_to_the_logits(count: int, official: bool) -> None:
    fit = make_fit(Joint(), NAMES[:count], **SGD)
    inputs, model = whole_batch(fit).inputs, fit.model
    _, shares = attribute(model, inputs, fit.generator(), zero_gradient=True, masked_in_evaluation=official)
    torch.testing.assert_close(sum(shares.values()), model(inputs).logits)
    zeroed = {
        m: inputs.replace({o: torch.zeros_like(inputs.values[o]) for o in NAMES[:count] if o != m}) for m in shares
    }
    if count == 2:
        only = {m: model(x).logits for m, x in zeroed.items()}
        a, v = NAMES[:2]
        torch.testing.assert_close(shares[a], 0.5 * (model(inputs).logits + only[a] - only[v]))


def test_coefficients_by_hand() -> None:
    scores, zeros = torch.tensor([1.0, 0.5], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    # first step: tau = 1, r_a = exp(s_v - s_a) = exp(-0.5), r_v = exp(0.5)
    expected = [math.exp(2.0 * (1 - math.exp(-0.5))), math.exp(2.0 * (1 - math.exp(0.5)))]
    torch.testing.assert_close(agm_coefficients(scores, zeros, 2.0, 10.0).tolist(), expected)
    # three modalities: exponent (mean - s_m) 3/2 with mean 1: 1.5, 0, -1.5, against running means in reverse
    three = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    tau_minus_r = [math.exp(-1.5) - math.exp(1.5), 0.0, math.exp(1.5) - math.exp(-1.5)]
    found = agm_coefficients(three, three.flip(0), 0.5, 3.0).tolist()
    torch.testing.assert_close(found, [math.exp(0.5 * min(x, 3.0)) for x in tau_minus_r])


@pytest.mark.parametrize(("count", "cap"), [(2, 10.0), (3, 7.0)])
def test_the_cap_depends_on_the_number_of_modalities(count: int, cap: float) -> None:
    """Equal scores now (r = 1) after a history that was far ahead for the first modality (tau - r > 100)."""
    method, names = Agm(alpha=0.5), NAMES[:count]
    make_fit(method, names, **SGD)
    method.fit.epoch = 1
    behind = torch.tensor(6.0, dtype=torch.float64)
    method.load_state_dict({"means": {m: behind * (m != names[0]) for m in names}, "steps": 1})
    kappas = method.kappas({m: torch.zeros(1, 3, dtype=torch.float64) for m in names}, torch.tensor([0]))
    assert math.isclose(kappas[0], math.exp(0.5 * cap), rel_tol=1e-9)


def test_running_scores_are_the_mean_of_earlier_steps() -> None:
    method, seen, kappas = Agm(alpha=0.7), [], []
    fit = make_fit(method, **SGD)
    for _ in range(3):
        with torch.no_grad():
            _, shares = attribute(
                fit.model, whole_batch(fit).inputs, fit.generator(), zero_gradient=False, masked_in_evaluation=False
            )
        seen.append([fit.task.loss(z, fit.train.target).item() for z in shares.values()])
        step(method)
        kappas.append([v for k, v in sorted(fit.meters.means().items()) if k.startswith("coefficient/")])
    (a1, v1), (a2, v2), (a3, v3) = seen
    tau, r = math.exp((v1 + v2) / 2 - (a1 + a2) / 2), math.exp(v3 - a3)
    assert math.isclose(kappas[2][0], math.exp(0.7 * (tau - r)), rel_tol=1e-6)
    assert math.isclose(kappas[0][0], math.exp(0.7 * (1 - math.exp(v1 - a1))), rel_tol=1e-6)


def test_outside_its_window_agm_is_joint() -> None:
    plain = joint_gradients()
    method = Agm(start=2, clip=False)
    fit = make_fit(method, **SGD)
    step(method)
    for name, g in encoder_gradients(fit).items():
        torch.testing.assert_close(g, plain[name], rtol=1e-9, atol=1e-15)


class BatchNormEncoder(nn.Module):
    """(B, 5) -> (B, 6) with batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(5, 6), nn.BatchNorm1d(6)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.norm(self.linear(values))


@pytest.mark.parametrize("masked_pass", ["reuse", "official"])
def test_masked_passes_leave_running_statistics_and_mode_alone(masked_pass: str) -> None:
    buffers = []
    for method in (Joint(), Agm(masked_pass=masked_pass)):
        fit = make_fit(method, **SGD)
        for m in fit.model.modalities:
            torch.manual_seed(1)
            fit.model.encoders[m] = BatchNormEncoder().double()
        step(method)
        assert all(module.training for module in fit.model.modules())
        buffers.append([b.clone() for b in fit.model.buffers()])
    assert len(buffers[0]) == 6
    assert all(torch.equal(a, b) for a, b in zip(*buffers, strict=True))


class LengthEncoder(nn.Module):
    """(B, 5) -> (B, 6); the features know the length."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.seen = nn.Linear(5, 6), []

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        assert lengths is not None
        assert len(lengths) == len(values)
        self.seen.append((values.abs().sum().item(), lengths.tolist()))
        return self.linear(values) * lengths[:, None]


def test_zero_inputs_keep_their_lengths() -> None:
    fit = make_fit(Joint())
    fit.model.encoders["audio"] = LengthEncoder()
    inputs = Inputs({m: x[:3] for m, x in fit.train.values.items()}, {"audio": torch.tensor([1, 5, 2])})
    attribute(fit.model, inputs, fit.generator(), zero_gradient=True, masked_in_evaluation=False)
    zero_passes = [lengths for total, lengths in fit.model.encoders["audio"].seen if total == 0]
    assert zero_passes == [[1, 5, 2]]


@pytest.mark.parametrize("fusion", ["concat-mlp", "gated"])
def test_agm_trains_with_fusion_that_is_not_additive(fusion: str) -> None:
    method = Agm()
    fit = make_fit(method, fusion=fusion)
    step(method)
    assert all(p.grad.isfinite().all() for p in fit.model.fusion.parameters() if p.grad is not None)
    assert any(p.grad is not None and p.grad.any() for p in fit.model.encoders.parameters())


@pytest.mark.parametrize(("largest", "norm"), [(0.9, 0.9), (2.0, 1.0)])
def test_clipping_acts_on_everything_but_only_when_a_watched_gradient_is_large(largest: float, norm: float) -> None:
    watched, other = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(3))
    watched.grad, other.grad = torch.tensor([largest, 0.0]), torch.tensor([0.0, 30.0, 40.0])
    clip_if_large([watched], [watched, other], 1.0)
    total = math.hypot(watched.grad.norm(), other.grad.norm())
    assert math.isclose(total, norm if largest > 1 else math.hypot(largest, 50.0), rel_tol=1e-5)


def total_norm(fit: Fit) -> float:
    return float(nn.utils.get_total_norm([p.grad for p in fit.model.parameters() if p.grad is not None]))


def with_features_times(factor: float, method: Agm, count: int) -> Fit:
    fit = make_fit(method, NAMES[:count], optimizer__name="sgd")
    for encoder in fit.model.encoders.values():
        encoder.register_forward_hook(lambda _module, _inputs, features: features * factor)
    return fit


@pytest.mark.parametrize(("count", "limit"), [(2, 1.0), (3, 5.0), (4, 5.0)])
def test_agm_clips_by_default(count: int, limit: float) -> None:
    method = Agm()
    fit = with_features_times(1e3, method, count)
    step(method)
    assert math.isclose(total_norm(fit), limit, rel_tol=1e-4)


def test_a_large_gradient_of_the_fusion_bias_alone_clips_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    method = Agm()
    fit = with_features_times(1e-4, method, 2)
    monkeypatch.setattr(method, "kappas", lambda _shares, _target: [torch.tensor(100.0)] * 2)
    step(method)
    assert fit.model.fusion.bias.grad.abs().max() > 1
    assert total_norm(fit) > 1.01


class WithDropout(nn.Module):
    """An encoder whose features are not the same in training and evaluation mode."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.dropout = encoder, nn.Dropout(0.1)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.dropout(self.encoder(values, lengths))


@pytest.mark.parametrize("apart", [True, False])
def test_one_zero_sample_per_encoder_is_encoded(apart: bool) -> None:
    method, seen = Agm(), []
    fit = make_fit(method, NAMES[:3])
    if apart:
        for m, encoder in list(fit.model.encoders.items()):
            fit.model.encoders[m] = WithDropout(encoder)
    for encoder in fit.model.encoders.values():
        encoder.register_forward_hook(lambda _module, inputs, _features: seen.append(len(inputs[0])))
    step(method)
    count = len(fit.train)
    assert sorted(seen) == ([1] * 3 + [count] * 3 if apart else [count + 1] * 3)


def test_agm_regression_scores_by_the_squared_error() -> None:
    method = Agm(alpha=0.1, clip=False)
    fit = make_fit(method, task=Task(None), **SGD)
    with torch.no_grad():
        _, shares = attribute(
            fit.model, whole_batch(fit).inputs, fit.generator(), zero_gradient=False, masked_in_evaluation=False
        )
    a, v = [(z.squeeze(-1) - fit.train.target).square().mean().item() for z in shares.values()]
    step(method)
    kappa = fit.meters.means()["coefficient/audio"]
    assert math.isclose(kappa, math.exp(0.1 * min(1 - math.exp(v - a), 10)), rel_tol=1e-9)
