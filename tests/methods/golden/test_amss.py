"""AMSS: shares from plain Python, probabilities of the draws counted, masks on every gradient."""

import itertools
import math
from collections import Counter

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, whole_batch
from mcr_bench.methods.amss import Amss, kept_shares
from mcr_bench.methods.base import Method
from mcr_bench.methods.joint import Joint
from mcr_bench.methods.terms.features.entropies import feature_entropy, label_entropy
from mcr_bench.methods.terms.gradients.masks import mask

FOUR = Task(4)
SGD = {"optimizer__name": "sgd", "dtype": torch.float64, "clip_norm": 0.0}


def plain_shares(method: Amss, names: tuple[str, ...], task: Task) -> dict[str, float]:
    """k_m by loops over samples, dimensions and modalities."""
    fit = make_fit(Joint(), names, task, **SGD)
    features = {m: f.tolist() for m, f in fit.model.encode(whole_batch(fit).inputs).items()}
    target, ratios, numerators = fit.train.target.tolist(), {}, []
    counts = Counter(target)
    label = -sum(n / len(target) * math.log(n / len(target)) for n in counts.values())
    for m, rows in features.items():
        weight, bias = fit.model.fusion.slices[m].weight.tolist(), fit.model.fusion.bias.tolist()
        loss = entropy = 0.0
        for f, y in zip(rows, target, strict=True):
            branch = [sum(a * b for a, b in zip(w, f, strict=True)) for w in weight]
            z = [x + b / len(names) for x, b in zip(branch, bias, strict=True)]
            loss += (math.log(sum(map(math.exp, z))) - z[y]) / len(target)
            p = [math.exp(x) / sum(map(math.exp, f)) for x in f]
            entropy -= sum(x * math.log(x) for x in p) / len(target)
        numerators.append(label - loss + 0.5)
        ratios[m] = numerators[-1] / entropy
    if min(numerators) <= 0:
        return dict.fromkeys(names, 1 / len(names))
    others = {m: sum(r for j, r in ratios.items() if j != m) / (len(names) - 1) / method.temperature for m in names}
    total = sum(map(math.exp, others.values()))
    return {m: min(max(math.exp(x) / total, method.least), method.most) for m, x in others.items()}


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("temperature", [0.2, 0.01])
def test_shares_are_those_of_plain_loops(count: int, temperature: float) -> None:
    method = Amss(temperature=temperature)
    fit = make_fit(method, NAMES[:count], FOUR, **SGD)
    batch = whole_batch(fit)
    found = {m: k.item() for m, k in method.shares(method.forward(batch), batch).items()}
    expected = plain_shares(method, NAMES[:count], FOUR)
    assert len(set(expected.values())) > 1
    assert found == pytest.approx(expected, rel=1e-6)


def test_two_modalities_by_hand() -> None:
    # r = (1 - .5 + .5) / 2 = .5 and (1 - .9 + .5) / 2 = .3; the first keeps e^1.5 / (e^1.5 + e^2.5)
    found = kept_shares(torch.tensor([0.5, 0.9]), torch.tensor(1.0), torch.tensor([2.0, 2.0]), 0.2)
    assert found.tolist() == pytest.approx([1 / (1 + math.e), math.e / (1 + math.e)], rel=1e-5)
    hopeless = kept_shares(torch.tensor([0.5, 1.6]), torch.tensor(1.0), torch.tensor([2.0, 2.0]), 0.2)
    assert hopeless.tolist() == [0.5, 0.5]
    assert label_entropy(torch.tensor([0, 1, 1, 1]), 5).item() == pytest.approx(
        -0.25 * math.log(0.25) - 0.75 * math.log(0.75), rel=1e-6
    )


def test_of_samples_that_lack_a_modality_nothing_counts() -> None:
    features = {"audio": torch.tensor([[0.0, 0.0], [9.0, -9.0]]), "video": torch.zeros(2, 2)}
    here = {"audio": torch.tensor([True, False])}
    assert feature_entropy(features, here).tolist() == pytest.approx([math.log(2)] * 2)
    nowhere = kept_shares(torch.tensor([math.nan, 0.1, 0.2]), torch.tensor(1.0), torch.ones(3), 0.2)
    assert nowhere.tolist() == pytest.approx([1 / 3] * 3)


def test_units_are_drawn_one_after_the_other_by_their_importance() -> None:
    """Pairs of four units: p_i p_j / (1 - p_i) + p_j p_i / (1 - p_j), within five standard errors of 20,000 draws."""
    p = [0.4, 0.3, 0.2, 0.1]
    draws = torch.rand(20_000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    masks = mask(torch.tensor(p, dtype=torch.float64).expand(20_000, 4), torch.tensor(0.3), -(-draws.log()).log())
    assert (masks.sum(1) == 2).all(), "ceil(0.3 * 4)"
    for i, j in itertools.combinations(range(4), 2):
        expected = p[i] * p[j] * (1 / (1 - p[i]) + 1 / (1 - p[j]))
        share = (masks[:, i] * masks[:, j]).mean().item()
        assert abs(share - expected) < 5 * math.sqrt(expected * (1 - expected) / 20_000)


def test_what_the_unbiased_form_keeps() -> None:
    # p = (.5, .3, .2), n = 3: 1 / (p + 1/3)
    found = mask(torch.tensor([5.0, 3.0, 2.0]), torch.tensor(0.6), unbiased=True)
    assert found.tolist() == pytest.approx([1 / (0.5 + 1 / 3), 1 / (0.3 + 1 / 3), 0.0])


def gradients(method: Method, names: tuple[str, ...]) -> dict[str, Tensor]:
    fit = make_fit(method, names, FOUR, **SGD)
    step(method)
    return {name: p.grad for name, p in fit.model.named_parameters() if p.grad is not None}


def of_the_top_units(names: tuple[str, ...], unbiased: bool) -> dict[str, Tensor]:
    """Joint gradients, of which each layer keeps those of its most important units, and so each output's slice."""
    rule, shares = {}, plain_shares(Amss(), names, FOUR)
    for name, g in gradients(Joint(), names).items():
        rule[name] = g
        if g.ndim < 2:
            continue
        in_head = name.startswith("fusion.slices.")
        m, axis = (name.split(".")[2], 1) if in_head else (name.split(".")[1], 0)
        scores = g.square() if in_head else g.square().flatten(1).sum(1).reshape(-1, *[1] * (g.ndim - 1))
        size, p = g.shape[axis], scores / scores.sum(axis, keepdim=True)
        last_kept = scores.sort(axis, descending=True).values.select(axis, math.ceil(shares[m] * size) - 1)
        rule[name] = g * (scores >= last_kept.unsqueeze(axis)) * (1 / (p + 1 / size) if unbiased else 1.0)
    return rule


def require_top_units(method: Amss, names: tuple[str, ...]) -> None:
    expected = of_the_top_units(names, method.unbiased)
    for name, g in gradients(method, names).items():
        torch.testing.assert_close(g, expected[name], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("unbiased", [False, True])
def test_the_top_units_of_every_layer_keep_their_gradient(count: int, unbiased: bool) -> None:
    require_top_units(Amss(sample="top", unbiased=unbiased), NAMES[:count])


@pytest.mark.parametrize("sample", ["adaptive", "random"])
def test_drawn_units_keep_their_whole_gradient(sample: str) -> None:
    method = Amss(sample=sample)
    masked, plain = gradients(method, NAMES[:2]), gradients(Joint(), NAMES[:2])
    shares = plain_shares(method, NAMES[:2], FOUR)
    for name, g in plain.items():
        if name.startswith("encoders.") and g.ndim >= 2:
            zero = (masked[name] == 0).flatten(1).all(1)
            assert torch.equal(masked[name][~zero], g[~zero])
            silent = (g == 0).flatten(1).all(1).sum().item()
            kept = math.ceil(shares[name.split(".")[1]] * len(g))
            assert kept - silent <= (~zero).sum() <= kept


def test_layers_that_it_does_not_find_and_bounds_that_cross() -> None:
    method = Amss(conv_only=True)
    make_fit(method, **SGD)
    with pytest.raises(UserError, match="audio"):
        step(method)
    with pytest.raises(UserError, match="below"):
        Amss(least=0.5, most=0.2)
