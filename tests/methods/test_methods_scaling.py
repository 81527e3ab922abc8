"""OGM, OGM-GE and MLB against closed forms: coefficients from plain loops, gradients from separate backward passes."""

import math

import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, whole_batch
from mcr_bench.methods.base import Method
from mcr_bench.methods.joint import Joint
from mcr_bench.methods.mlb import Mlb, rebalance
from mcr_bench.methods.multi_loss import MultiLoss
from mcr_bench.methods.ogm import Ogm
from mcr_bench.methods.ogm_ge import OgmGe
from mcr_bench.methods.terms.modulation import in_window
from mcr_bench.methods.terms.on_the_fly import slow_down
from mcr_bench.methods.terms.scores import mean_of_others, surprisals, true_scores

THREE = Task(3)
SGD = {"optimizer__name": "sgd", "dtype": torch.float64}


def gradients_of(method: Method, modalities: tuple[str, ...] = NAMES[:2], task: Task = THREE) -> dict[str, Tensor]:
    """What one step of the method leaves in every parameter's gradient, by name."""
    fit = make_fit(method, modalities, task, **SGD)
    step(method)
    return {name: p.grad for name, p in fit.model.named_parameters() if p.grad is not None}


def probabilities_of_truth(fit: Fit, heads: str) -> dict[str, float]:
    """Mean probability of the true class, sample by sample; heads: `split` (slices and bias / M) or `own`."""
    model, found = fit.model, {}
    features = model.encode(whole_batch(fit).inputs)
    for m, f in features.items():
        if heads == "split":
            z = f @ model.fusion.slices[m].weight.T + model.fusion.bias / len(features)
        else:
            z = f @ model.own_heads[m].weight.T + model.own_heads[m].bias
        rows = [math.exp(z[i, y]) / z[i].exp().sum().item() for i, y in enumerate(fit.train.target.tolist())]
        found[m] = sum(rows) / len(rows)
    return found


def others_mean(values: dict[str, float], m: str) -> float:
    rest = [v for k, v in values.items() if k != m]
    return sum(rest) / len(rest)


@pytest.mark.parametrize("count", [2, 3])
def test_ogm_multiplies_weights_of_the_leading_encoders_only(count: int) -> None:
    names = NAMES[:count]
    with torch.no_grad():
        s = probabilities_of_truth(make_fit(Joint(), names, **SGD), "split")
    ratio = {m: s[m] / others_mean(s, m) for m in names}
    k = {m: 1 - math.tanh(0.3 * r) if r > 1 else 1.0 for m, r in ratio.items()}
    assert 1 <= sum(v < 1 for v in k.values()) < count
    plain, scaled = gradients_of(Joint(), names), gradients_of(Ogm(alpha=0.3), names)
    for name, g in plain.items():
        m = name.split(".")[1]
        factor = k[m] if name.startswith("encoders.") and g.ndim >= 2 else 1.0
        torch.testing.assert_close(scaled[name], g * factor, rtol=1e-10, atol=0)


def test_ogm_by_hand_for_two_modalities() -> None:
    # rho = 3 and 1/3: only the first is slowed, by 1 - tanh(0.1 * 3) = 1 - 0.2913126125
    torch.testing.assert_close(slow_down(torch.tensor([0.6, 0.2]), 0.1), torch.tensor([0.7086873875, 1.0]))
    assert slow_down(torch.tensor([0.4, 0.4]), 0.8).tolist() == [1.0, 1.0]


def test_scores_by_hand() -> None:
    logits = {"a": torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0]]), "b": torch.tensor([[200.0, 0.0], [200.0, 0.0]])}
    target = torch.tensor([1, 0])
    torch.testing.assert_close(true_scores(logits, target, THREE), torch.tensor([(0.75 + 0.5) / 2, 0.5]))
    expected = torch.tensor([-(math.log(0.75) + math.log(0.5)) / 2, -math.log(1e-8) / 2])
    torch.testing.assert_close(surprisals(logits, target, THREE), expected)
    torch.testing.assert_close(mean_of_others(torch.tensor([1.0, 2.0, 6.0])), torch.tensor([4.0, 3.5, 1.5]))


def test_a_hopeless_modality_keeps_a_score() -> None:
    hopeless = {"a": torch.tensor([[0.0, 200.0]]), "b": torch.tensor([[0.0, 200.0]])}
    scores = true_scores(hopeless, torch.tensor([0]), THREE)
    assert scores.tolist() == pytest.approx([1e-8, 1e-8])
    assert slow_down(scores, 0.8).tolist() == [1.0, 1.0]


def test_the_window_includes_both_ends() -> None:
    assert [epoch for epoch in range(1, 7) if in_window(epoch, 2, 4)] == [2, 3, 4]
    assert [epoch for epoch in range(1, 7) if in_window(epoch, 3, 0)] == [3, 4, 5, 6]


def test_ogm_outside_its_window_is_joint() -> None:
    plain = gradients_of(Joint())
    for window in ({"start": 2}, {"start": 1, "end": 1}):
        method = Ogm(**window)
        fit = make_fit(method, **SGD)
        fit.epoch = 1 if "end" not in window else 2
        step(method)
        assert all(torch.equal(p.grad, plain[n]) for n, p in fit.model.named_parameters() if p.grad is not None)


def test_ogm_says_when_there_is_nothing_to_scale() -> None:
    with pytest.raises(UserError, match="audio"):
        gradients_of(Ogm(conv_only=True))


def test_conv_only_scales_kernels_of_four_axes_and_nothing_else() -> None:
    def conv_fit(method: Method) -> dict[str, Tensor]:
        fit = make_fit(method, **SGD)
        for m in fit.model.modalities:
            torch.manual_seed(3)
            fit.model.encoders[m] = ConvEncoder().double()
        step(method)
        return {n: p.grad for n, p in fit.model.named_parameters() if p.grad is not None}

    plain, scaled = conv_fit(Joint()), conv_fit(Ogm(conv_only=True))
    changed = {n for n, g in plain.items() if not torch.equal(g, scaled[n])}
    assert len(changed) == 1
    assert changed < {"encoders.audio.conv.weight", "encoders.video.conv.weight"}


class ConvEncoder(nn.Module):
    """(B, 5) -> (B, 6) through a 2-D convolution and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(1, 2, (1, 3)), nn.Linear(6, 6)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.out(self.conv(values[:, None, None]).flatten(1))


def test_ogm_regression_scores_by_the_inverse_loss() -> None:
    task = Task(None)
    fit = make_fit(Joint(), task=task, **SGD)
    with torch.no_grad():
        split = fit.model(whole_batch(fit).inputs).split_logits
        loss = {m: (z.squeeze(-1) - fit.train.target).abs().mean().item() for m, z in split.items()}
    better = min(loss, key=loss.get)
    k = 1 - math.tanh(0.3 * max(loss.values()) / min(loss.values()))
    plain, scaled = gradients_of(Joint(), task=task), gradients_of(Ogm(alpha=0.3), task=task)
    weights = [n for n, g in plain.items() if n.startswith(f"encoders.{better}.") and g.ndim >= 2]
    assert weights
    for name in weights:
        torch.testing.assert_close(scaled[name], plain[name] * k, rtol=1e-6, atol=0)


def test_scaling_the_rate_scales_what_the_optimiser_does() -> None:
    """Adam's first step is the same for a scaled gradient; a scaled rate makes k times the step."""

    def moved(method: Method) -> tuple[dict[str, Tensor], dict[str, float]]:
        fit = make_fit(method, dtype=torch.float64, optimizer__name="adam", optimizer__weight_decay=0.0)
        before = {n: p.detach().clone() for n, p in fit.model.named_parameters()}
        step(method)
        return {n: p.detach() - before[n] for n, p in fit.model.named_parameters()}, fit.meters.means()

    (plain, _), (rate, logged) = moved(Joint()), moved(Ogm(alpha=0.3, apply_to="lr"))
    k = {m: logged[f"coefficient/{m}"] for m in NAMES[:2]}
    assert min(k.values()) < 0.9
    for name, way in plain.items():
        factor = k[name.split(".")[1]] if name.startswith("encoders.") and way.ndim >= 2 else 1.0
        torch.testing.assert_close(rate[name], way * factor, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("method", [Ogm, Mlb], ids=lambda c: c.name)
@pytest.mark.parametrize("count", [2, 3])
def test_for_plain_gradient_descent_both_ways_of_scaling_are_one(method: type[Ogm | Mlb], count: int) -> None:
    plain = {"optimizer__momentum": 0.0, "optimizer__weight_decay": 0.0, "optimizer__lr": 0.1, **SGD}
    fits = []
    for apply_to in ("grad", "lr"):
        scaled = method(alpha=2.0, apply_to=apply_to)
        fits.append(make_fit(scaled, NAMES[:count], **plain))
        for _ in range(3):
            step(scaled)
    assert max(abs(v - 1) for k, v in fits[0].meters.means().items() if k.startswith("coefficient/")) > 0.01
    for mine, theirs in zip(*(f.model.parameters() for f in fits), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


def test_no_noise_outside_the_window() -> None:
    plain, noisy = gradients_of(Joint()), gradients_of(OgmGe(start=2))
    assert all(torch.equal(noisy[name], g) for name, g in plain.items())


def test_generalisation_noise_has_the_spread_of_the_unscaled_gradient() -> None:
    plain, ogm = gradients_of(Joint()), gradients_of(Ogm(alpha=0.5))
    draws: dict[str, list[Tensor]] = {}
    for seed_step in range(40):
        method = OgmGe(alpha=0.5)
        fit = make_fit(method, **SGD)
        fit.step = seed_step
        step(method)
        for name, p in fit.model.named_parameters():
            if name.startswith("encoders."):
                draws.setdefault(name, []).append(p.grad - ogm[name])
    for name, noises in draws.items():
        noise = torch.stack(noises) / (plain[name].std() + 1e-8)
        if plain[name].ndim < 2:
            assert not noise.any(), name
            continue
        expected_error = 1 / math.sqrt(noise.numel())
        assert abs(noise.std() - 1) < 4 * expected_error, name
        assert abs(noise.mean()) < 4 * expected_error, name


def test_generalisation_noise_is_fresh_each_step_and_differs_between_modalities() -> None:
    method = OgmGe()
    make_fit(method, **SGD)
    method.fit.epoch, draws = 1, []
    for n in (1, 2):
        method.fit.step = n
        for p in method.touched["audio"] + method.touched["video"]:
            p.grad = torch.zeros_like(p)
        for m in ("audio", "video"):
            method.add_noise(m, [torch.ones((), dtype=torch.float64)] * len(method.touched[m]))
            draws.append(method.touched[m][0].grad.clone())
    assert all(not torch.equal(a, b) for i, a in enumerate(draws) for b in draws[:i])


@pytest.mark.parametrize("count", [2, 3])
def test_mlb_multiplies_encoder_own_head_and_slice(count: int) -> None:
    names = NAMES[:count]
    with torch.no_grad():
        s = probabilities_of_truth(make_fit(Joint(), names, **SGD), "own")
    k = {m: 1 + math.tanh(0.8 * (others_mean(s, m) / s[m] - 1)) for m in names}
    plain, scaled = gradients_of(MultiLoss(), names), gradients_of(Mlb(alpha=0.8), names)
    assert plain.keys() == scaled.keys()
    for name, g in plain.items():
        owner = next((m for m in names if m in name.split(".")), None)
        torch.testing.assert_close(scaled[name], g * (k[owner] if owner else 1.0), rtol=1e-9, atol=0)


def test_mlb_regression_speeds_up_the_modality_with_the_larger_error() -> None:
    task = Task(None)
    fit = make_fit(Joint(), task=task, **SGD)
    with torch.no_grad():
        own = fit.model(whole_batch(fit).inputs).own_logits
        error = {m: (z.squeeze(-1) - fit.train.target).square().mean().item() for m, z in own.items()}
    plain, scaled = gradients_of(MultiLoss(), task=task), gradients_of(Mlb(alpha=0.8), task=task)
    for m in NAMES[:2]:
        k = 1 + math.tanh(0.8 * (error[m] / others_mean(error, m) - 1))
        weights = [n for n in plain if n.startswith((f"encoders.{m}.", f"own_heads.{m}.", f"fusion.slices.{m}."))]
        assert len(weights) > 4
        for name in weights:
            torch.testing.assert_close(scaled[name], plain[name] * k, rtol=1e-9, atol=0)


def test_mlb_coefficients_by_hand() -> None:
    # tanh(0.5 * (3 - 1)) = 0.7615941560, tanh(0.5 * (1/3 - 1)) = -0.3215127375
    ratio = torch.tensor([3.0, 1 / 3], dtype=torch.float64)
    rise, fall = 0.7615941559557649, -0.3215127375316343
    torch.testing.assert_close(rebalance(ratio, 0.5, 2.0), torch.tensor([1 + rise, 1 + fall], dtype=torch.float64))
    torch.testing.assert_close(rebalance(ratio, 0.5, 10.0), torch.tensor([1 + 9 * rise, 1 + fall], dtype=torch.float64))
    assert rebalance(torch.ones(3), 0.8, 10.0).tolist() == [1.0, 1.0, 1.0]


def test_mlb_with_equal_scores_is_multi_loss() -> None:
    """Own heads of zeros say 1/C for every sample of every modality."""
    found = []
    for method in (MultiLoss(), Mlb(alpha=0.8)):
        fit = make_fit(method, NAMES[:3], optimizer__name="sgd")
        for parameter in fit.model.own_heads.parameters():
            nn.init.zeros_(parameter)
        step(method)
        found.append([p.detach() for p in fit.model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("name", ["agm", "mlb", "ogm", "ogm-ge"])
def test_a_window_without_an_epoch_is_an_error(name: str) -> None:
    with pytest.raises(UserError, match=rf"{name}.start=5 comes after {name}.end=4"):
        registry.method(name)(start=5, end=4)
    assert registry.method(name)(start=5, end=5).end == 5
