"""PMR by plain loops: prototypes, distances, who is behind, and the loss of a step."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.fit.evaluated import Evaluation
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, tiny_split, whole_batch
from mcr_bench.methods.joint import Joint
from mcr_bench.methods.pmr import PMR
from mcr_bench.methods.terms.features.prototype_loss import behind
from mcr_bench.methods.terms.features.prototypes import class_means, nearness

DOUBLE = {"dtype": torch.float64, "optimizer__name": "sgd"}
ALL = {"share": 1.0}  # prototypes over all training samples, so that nothing is drawn
NOTHING = Evaluation(torch.zeros(0), {}, {}, None, torch.zeros(0), {})


def means_by_class(features: Tensor, target: list[int]) -> list[list[float]]:
    """The mean feature of every class, sample by sample."""
    found = []
    for c in range(3):
        rows = [f for f, y in zip(features.tolist(), target, strict=True) if y == c]
        found.append([sum(column) / len(rows) for column in zip(*rows, strict=True)])
    return found


def by_hand(features: dict[str, Tensor], target: list[int]) -> tuple[dict[str, float], dict[str, float]]:
    """Modality -> s_m, and -> its prototypes' cross-entropy, with prototypes over these samples themselves."""
    scores, losses = {}, {}
    for m, f in features.items():
        means, right = means_by_class(f, target), []
        for row, y in zip(f.tolist(), target, strict=True):
            near = [math.exp(-math.dist(row, mean)) for mean in means]
            right.append(near[y] / sum(near))
        scores[m], losses[m] = sum(right) / len(right), -sum(map(math.log, right)) / len(right)
    return scores, losses


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("coefficient", ["step", "clipped"])
def test_the_loss_of_a_step(count: int, coefficient: str) -> None:
    names = NAMES[:count]
    method = PMR(alpha=1.5, coefficient=coefficient, **ALL)
    fit = make_fit(method, names, **DOUBLE)
    with torch.no_grad():
        features = fit.model.encode(whole_batch(fit).inputs)
    scores, losses = by_hand(features, fit.train.target.tolist())
    step(method)
    logged = fit.meters.means()
    weights = {}
    for m in names:
        others = sum(s for n, s in scores.items() if n != m) / (count - 1)
        gap = others / scores[m] - 1
        weights[m] = 1.5 * (float(gap > 0) if coefficient == "step" else min(max(gap, 0), 1))
    assert 0 < sum(w > 0 for w in weights.values()) < count
    for m in names:
        assert logged[f"coefficient/{m}"] == pytest.approx(weights[m], rel=1e-9)
        assert logged[f"loss/prototypes/{m}"] == pytest.approx(weights[m] * losses[m], rel=1e-9)


@pytest.mark.parametrize("fusion", ["late-linear", "gated"])
def test_the_term_teaches_the_encoder_that_is_behind_alone(fusion: str) -> None:
    grads = {}
    for method in (Joint(), PMR(alpha=3.0, **ALL)):
        fit = make_fit(method, fusion=fusion, **DOUBLE)
        if isinstance(method, PMR):
            leaf = fit.model.encode(whole_batch(fit).inputs)
            scores, _ = by_hand({m: f.detach() for m, f in leaf.items()}, fit.train.target.tolist())
            slow = min(scores, key=scores.__getitem__)
            cost = plain_cost(leaf[slow], fit.train.target)
            extra = dict(zip(*gradients_of(cost, fit, slow), strict=True))
        step(method)
        grads[method.name] = {n: p.grad for n, p in fit.model.named_parameters() if p.grad is not None}
    for name, g in grads["joint"].items():
        expected = g + 3.0 * extra[name] if name in extra else g
        torch.testing.assert_close(grads["pmr"][name], expected, rtol=1e-7, atol=1e-12)
    assert all(name.startswith(f"encoders.{slow}.") for name in extra)


def plain_cost(features: Tensor, target: Tensor) -> Tensor:
    """The cross-entropy over distances to prototypes that are constants."""
    means = torch.tensor(means_by_class(features.detach(), target.tolist()), dtype=features.dtype)
    logits = -(features[:, None] - means).square().sum(-1).sqrt()
    return -(logits.log_softmax(1)[torch.arange(len(target)), target]).mean()


def gradients_of(cost: Tensor, fit: Fit, m: str) -> tuple[list[str], list[Tensor]]:
    parameters = {n: p for n, p in fit.model.named_parameters() if n.startswith(f"encoders.{m}.")}
    return list(parameters), list(torch.autograd.grad(cost, list(parameters.values())))


def test_who_is_behind_by_hand() -> None:
    assert behind(torch.tensor([0.4, 0.4])).tolist() == [0.0, 0.0]
    assert behind(torch.tensor([0.2, 0.6])).tolist() == [1.0, 0.0]
    assert behind(torch.tensor([0.2, 0.6, 0.3])).tolist() == [1.0, 0.0, 1.0]
    torch.testing.assert_close(behind(torch.tensor([0.2, 0.3, 0.3]), clipped=True), torch.tensor([0.5, 0.0, 0.0]))
    assert behind(torch.tensor([0.1, 0.9]), clipped=True).tolist() == [1.0, 0.0]


def test_prototypes_by_hand() -> None:
    """Class 1 has no sample: it keeps what it had, and before that it has the mean of all."""
    features = torch.tensor([[[2.0], [4.0], [9.0]]])
    members = torch.tensor([[[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
    assert class_means(features, members).flatten().tolist() == [3.0, 5.0, 9.0]
    before = torch.tensor([[[1.0], [7.0], [1.0]]])
    torch.testing.assert_close(class_means(features, members, before, 0.25).flatten(), torch.tensor([2.5, 7.0, 7.0]))


def test_a_feature_on_its_prototype_has_a_finite_gradient() -> None:
    features = torch.zeros(2, 3, requires_grad=True)
    nearness(features, torch.zeros(4, 3)).sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_prototypes_follow_the_weights_after_every_epoch() -> None:
    method = PMR(momentum=0.25, **ALL)
    fit = make_fit(method, **DOUBLE)
    with torch.no_grad():
        first = fit.model.encode(whole_batch(fit).inputs)
        for p in fit.model.encoders.parameters():
            p.mul_(1.5)
        second = fit.model.encode(whole_batch(fit).inputs)
    method.on_epoch_end(NOTHING)
    kept = method.state_dict()["prototypes"]
    for m, mine in zip(fit.model.modalities, kept, strict=True):
        old, new = (torch.tensor(means_by_class(f[m], fit.train.target.tolist())) for f in (first, second))
        torch.testing.assert_close(mine, (0.75 * new + 0.25 * old).double(), rtol=1e-6, atol=1e-6)


def test_samples_that_lack_a_modality_do_not_count_in_its_prototypes() -> None:
    has = torch.arange(24) % 2 == 0
    data = replace(tiny_split(), present={"video": has})
    method = PMR(**ALL)
    fit = make_fit(method, data=data, **DOUBLE)
    with torch.no_grad():
        features = fit.model.encode(whole_batch(fit).inputs)
    kept = method.state_dict()["prototypes"]
    target = fit.train.target
    torch.testing.assert_close(
        kept[0], torch.tensor(means_by_class(features["audio"], target.tolist())).double(), rtol=1e-6, atol=1e-6
    )
    expected = means_by_class(features["video"][has], target[has].tolist())
    torch.testing.assert_close(kept[1], torch.tensor(expected).double(), rtol=1e-6, atol=1e-6)


def test_few_batches_are_drawn_anew_each_epoch_and_the_statistics_stay() -> None:
    """Three steps per epoch: a tenth of them is one batch at least."""
    method = PMR()
    fit = make_fit(method, batch_size=8, **DOUBLE)
    first = method.state_dict()["prototypes"]
    fit.epoch = 1
    method.on_epoch_end(NOTHING)
    assert not torch.equal(first, method.state_dict()["prototypes"])
    assert fit.model.training


@pytest.mark.parametrize("window", [{"start": 2}, {"end": 1}])
def test_outside_its_window_it_is_joint_training(window: dict[str, int]) -> None:
    method = PMR(**window)
    fit = make_fit(method)
    fit.epoch = 1 if "start" in window else 2
    step(method)
    assert {k for k in fit.meters.means() if k.startswith("loss/")} == {"loss/fused"}


@pytest.mark.parametrize("coefficient", ["step", "clipped"])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_modality_that_nobody_in_the_batch_has_is_not_compared(count: int, coefficient: str) -> None:
    """The others are compared with each other; of two nobody is behind. Everything stays finite."""
    method = PMR(alpha=1.0, coefficient=coefficient, **ALL)
    data = replace(tiny_split(NAMES[:count]), present={"audio": torch.arange(24) >= 12})
    fit = make_fit(method, NAMES[:count], data=data, **DOUBLE)
    kept, index = method.state_dict()["prototypes"], torch.arange(9)
    batch, scores = fit.train.batch(index), {}
    features = fit.model.encode(batch.inputs)
    for m, means in zip(NAMES[1:count], kept[1:], strict=True):
        near = torch.stack([-(features[m] - mu).norm(dim=1) for mu in means], 1).softmax(1)
        scores[m] = near[index, batch.target].mean().item()
    step(method, batch)
    logged = fit.meters.means()
    assert logged["coefficient/audio"] == logged["loss/prototypes/audio"] == 0
    for m, s in scores.items():
        others = [v for n, v in scores.items() if n != m]
        gap = sum(others) / len(others) / s - 1 if others else 0.0
        expected = float(gap > 0) if coefficient == "step" else min(max(gap, 0), 1)
        assert logged[f"coefficient/{m}"] == pytest.approx(expected, rel=1e-9)
    assert all(p.grad.isfinite().all() for p in fit.model.parameters() if p.grad is not None)


def test_its_neutral_weight_takes_no_short_cut() -> None:
    method = PMR(alpha=0.0)
    fit = make_fit(method, **DOUBLE)
    step(method)
    logged = fit.meters.means()
    assert [logged[f"loss/prototypes/{m}"] for m in fit.model.modalities] == [0.0, 0.0]
