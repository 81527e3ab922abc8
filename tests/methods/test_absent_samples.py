"""Samples that lack a modality: terms and scores of methods are those of the samples that have it, by plain loops."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from torch import Tensor

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, tiny_split
from mcr_bench.methods.mcr import MCR
from mcr_bench.methods.terms.attribution import agm_coefficients
from mcr_bench.methods.terms.distances import divergence_slopes, squared_slopes
from mcr_bench.methods.terms.features.ceb import FeatureDecoder, ceb
from mcr_bench.methods.terms.features.contrastive import nt_xent
from mcr_bench.methods.terms.games.additive_game import Rules, game
from mcr_bench.methods.terms.games.game import divergences, jensen_shannon, squared_difference
from mcr_bench.methods.terms.games.perturb import permutations_among, perturbed
from mcr_bench.methods.terms.scores import RunningScores

ROWS = {
    "a": torch.tensor([True, False, True, True, False, True, True]),
    "c": torch.tensor([True, True, False, True, False, True, False]),
}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def having(names: str) -> dict[str, Tensor]:
    """b is never lacked."""
    return {m: rows for m, rows in ROWS.items() if m in names}


def has(m: str, i: int) -> bool:
    return m not in ROWS or bool(ROWS[m][i])


@pytest.mark.parametrize("names", ["ab", "ca", "abc"])
@pytest.mark.parametrize("temperature", [0.5, 0.02])
def test_features_of_absent_modalities_are_no_vectors_of_the_contrastive_loss(names: str, temperature: float) -> None:
    """-log(e(a, p) / (e(a, p) + sum_n e(a, n))) over the pairs of vectors that are there."""
    labels = [0, 1, 0, 2, 1, 1, 2]
    mine = {m: draw(7, 4, seed=k).requires_grad_() for k, m in enumerate(names)}
    theirs = {m: x.detach().clone().requires_grad_() for m, x in mine.items()}
    there = [(x[i] / x[i].norm(), labels[i]) for m, x in theirs.items() for i in range(7) if has(m, i)]
    losses = []
    for (a, (u, y)), (p, (v, z)) in itertools.permutations(enumerate(there), 2):
        if a != p and y == z:
            others = [w @ u / temperature for w, label in there if label != y]
            losses.append(torch.stack([u @ v / temperature, *others]).logsumexp(0) - u @ v / temperature)
    expected = torch.stack(losses).mean()
    value = nt_xent(mine, torch.tensor(labels), temperature, having(names))
    assert value.item() == pytest.approx(expected.item(), rel=1e-10)
    value.backward()
    expected.backward()
    for m in names:
        torch.testing.assert_close(mine[m].grad, theirs[m].grad, rtol=1e-8, atol=1e-10)
        assert not mine[m].grad[[i for i in range(7) if not has(m, i)]].any()  # type: ignore[index]


def test_without_any_sample_of_a_modality_the_contrastive_loss_is_that_of_the_others() -> None:
    x = {m: draw(5, 3, seed=k) for k, m in enumerate("abc")}
    labels = torch.tensor([0, 0, 1, 1, 1])
    left = nt_xent({m: x[m] for m in "ac"}, labels, 0.5)
    assert nt_xent(x, labels, 0.5, {"b": torch.zeros(5, dtype=torch.bool)}).item() == pytest.approx(left.item())
    nowhere = nt_xent(x, labels, 0.5, {m: torch.zeros(5, dtype=torch.bool) for m in "abc"})
    assert nowhere == 0


@pytest.mark.parametrize("names", ["ab", "abc"])
def test_the_bottleneck_term_is_over_the_samples_that_have_the_modality(names: str) -> None:
    decoder = FeatureDecoder(list(names), 3, 4).double()
    features, logits = {m: draw(7, 4, seed=k) for k, m in enumerate(names)}, draw(7, 3, seed=9)
    made = decoder(logits)
    each = [((features[m] - made[m])[[i for i in range(7) if has(m, i)]] ** 2).mean().item() for m in names]
    assert ceb(features, logits, decoder, having(names)).item() == pytest.approx(np.mean(each))


def divergence_of(q: np.ndarray[Any, Any], z: np.ndarray[Any, Any]) -> float:
    """Of one sample: the Jensen-Shannon divergence by SciPy, or the squared difference of one output."""
    if len(z) == 1:
        return float((q - z)[0] ** 2)
    return float(jensenshannon(softmax(q), softmax(z)) ** 2)


@pytest.mark.parametrize("outputs", [4, 1], ids=["classes", "scores"])
@pytest.mark.parametrize("names", ["ab", "abc"])
def test_a_coalition_counts_the_samples_that_have_all_of_it(names: str, outputs: int) -> None:
    x, bias = {m: draw(7, outputs, seed=k) for k, m in enumerate(names)}, draw(outputs, seed=8)
    orders = {
        m: permutations_among(3, ROWS.get(m, torch.ones(7, dtype=torch.bool)), seeded(k)) for k, m in enumerate(names)
    }
    expected = {}
    for chosen in (s for n in range(1, len(names)) for s in itertools.combinations(names, n)):
        values = []
        for i in (i for i in range(7) if all(has(m, i) for m in chosen)):
            whole = sum((x[m][i] for m in names), bias).numpy()
            for p in range(3):
                parts = [x[m][orders[m][p, i]] if m in chosen else x[m][i] for m in names]
                values.append(divergence_of(sum(parts, bias).numpy(), whole))
        expected[chosen] = np.mean(values)
    rules = Rules(
        [tuple(names.index(m) for m in s) for s in expected],
        -1.0,
        None,
        False,
        divergence_slopes if outputs > 1 else squared_slopes,
    )
    rows = torch.stack([ROWS.get(m, torch.ones(7, dtype=torch.bool)) for m in names])
    total, values = game(rules, bias, torch.stack([*x.values()]), None, None, torch.stack([*orders.values()]), rows)
    assert values.tolist() == pytest.approx([*expected.values()], abs=1e-9)
    assert total.item() == pytest.approx(sum(expected.values()), abs=1e-9)
    found = divergences(
        x,
        {m: x[m][orders[m]] for m in names},
        lambda parts: sum(parts.values()) + bias,  # type: ignore[arg-type, return-value]
        jensen_shannon if outputs > 1 else squared_difference,
        -1.0,
        having=having(names),
    )
    assert {s: v.item() for s, v in found.items()} == pytest.approx(expected, abs=1e-9)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("detach", [True, False, "released"])
@pytest.mark.parametrize("others", [-1.0, 0.0, 1.0])
def test_players_learn_from_the_samples_that_have_them_alone(others: float, detach: bool | str) -> None:
    """Gradients by autograd on the samples that count, picked by index; those of both forms of the game equal them."""
    names, bias = "abc", draw(4, seed=8)
    start = {m: draw(7, 4, seed=k) for k, m in enumerate(names)}
    rows = torch.stack([ROWS.get(m, torch.ones(7, dtype=torch.bool)) for m in names])
    orders = {m: permutations_among(2, rows[k], seeded(k)) for k, m in enumerate(names)}
    full = detach == "released" and others >= 0
    reference_factor = 1.0 if full else None if detach else others

    def turned(x: Tensor, factor: float, there: Tensor) -> Tensor:
        share = factor * there[:, None].double()
        return share * x + (1 - share) * x.detach()

    plain = {m: x.clone().requires_grad_() for m, x in start.items()}
    total = torch.zeros((), dtype=torch.float64)
    for chosen in (s for n in (1, 2) for s in itertools.combinations(names, n)):
        counted = [i for i in range(7) if all(has(m, i) for m in chosen)]
        q, z = bias, bias
        for k, m in enumerate(names):
            q = q + (plain[m][orders[m]] if m in chosen else turned(plain[m], others, rows[k]))
            factor = 0.0 if reference_factor is None else 1.0 if m in chosen else reference_factor
            z = z + turned(plain[m], factor, rows[k])
        total = total + jensen_shannon(q[:, counted], z[counted])
    total.backward()

    closed = torch.stack([*start.values()]).requires_grad_()
    index = [tuple(names.index(m) for m in s) for n in (1, 2) for s in itertools.combinations(names, n)]
    rules = Rules(index, others, reference_factor, False, divergence_slopes)
    game(rules, bias, closed, None, None, torch.stack([*orders.values()]), rows)[0].backward()
    leaves = {m: x.clone().requires_grad_() for m, x in start.items()}
    found = divergences(
        leaves,
        {m: x[orders[m]] for m, x in leaves.items()},
        lambda parts: sum(parts.values()) + bias,  # type: ignore[arg-type, return-value]
        jensen_shannon,
        others,
        detach,  # type: ignore[arg-type]
        having=having(names),
    )
    torch.stack([*found.values()]).sum().backward()
    assert closed.grad is not None
    for k, m in enumerate(names):
        torch.testing.assert_close(closed.grad[k], plain[m].grad, rtol=1e-8, atol=1e-12)
        torch.testing.assert_close(leaves[m].grad, plain[m].grad, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("fusion", ["late-linear", "concat-mlp"])
@pytest.mark.parametrize("perturb", ["permute_latent", "noise_latent", "noise_input", "zero_latent"])
def test_a_modality_that_no_sample_of_the_batch_has_is_not_played(fusion: str, perturb: str) -> None:
    """Its D_S is 0, no gradient of a term reaches its encoder, and all stays finite."""
    method = MCR(perturb=perturb, lambda_ceb=1.0, noise_std="released", permutations=3)  # type: ignore[arg-type]
    fit = make_fit(method, NAMES[:2], fusion=fusion)
    split = tiny_split(NAMES[:2])
    split.present = {"audio": torch.arange(24) >= 12}
    fit.epoch = fit.step = 1
    batch = split.batch(torch.arange(8))
    outputs = method.forward(batch)
    losses = method.loss(outputs, batch)
    (losses["mipd"] + losses["contrastive"] + losses["unimodal"] + losses["ceb"]).backward()
    means = fit.meters.means()
    assert means["divergence/audio"] == 0
    assert means["divergence/video"] > 0
    for parameter in fit.model.encoders["audio"].parameters():
        assert parameter.grad is None or not parameter.grad.any()
    for parameter in fit.model.encoders["video"].parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert parameter.grad.any()


def test_samples_are_permuted_among_those_that_have_the_modality() -> None:
    rows = ROWS["a"]
    orders = permutations_among(400, rows, seeded(0))
    assert (orders.sort(-1).values == torch.arange(7)).all()
    assert (rows[orders] == rows).all()
    places = [0, 2, 3, 5, 6]
    first = torch.bincount(orders[:, 0], minlength=7)
    assert (first[places] - 80).abs().max() < 45  # 5 standard deviations
    assert orders[:, 1].unique().tolist() == [1, 4]


@pytest.mark.parametrize("noise_std", ["biased", "released"])
def test_noise_has_the_deviation_of_the_samples_that_have_the_modality(noise_std: str) -> None:
    x, rows = 3 * draw(7, 2).requires_grad_(), ROWS["c"]
    made = perturbed("noise_latent", x, 2, 0.5, seeded(1), noise_std, rows)
    eps = torch.randn(2, 7, 2, dtype=torch.float64, generator=seeded(1))
    spread = np.std(x.detach()[rows].numpy(), 0, ddof=int(noise_std == "released"))
    torch.testing.assert_close(made.detach(), x.detach() + 0.5 * eps * torch.from_numpy(spread))
    made.sum().backward()
    one = perturbed("noise_latent", x, 2, 0.5, seeded(1), noise_std, torch.arange(7) == 3)
    assert torch.equal(one, x.expand(2, 7, 2))  # one sample has no deviation


def test_running_means_are_over_the_steps_that_had_the_modality() -> None:
    nan = math.nan
    steps = [[2.0, nan, 1.0], [4.0, nan, 3.0], [nan, 5.0, 5.0], [6.0, 9.0, nan], [1.0, 1.0, 1.0]]
    running, lacks = RunningScores(), {"c": torch.zeros(1)}
    names = list("abc")
    for done, scores in enumerate(steps):
        running = RunningScores(**running.state_dict())  # type: ignore[arg-type]
        before = running.before(torch.tensor(scores), names, lacks).tolist()
        past = np.array(steps[:done]).reshape(done, 3)
        columns = [column[~np.isnan(column)] for column in past.T]
        expected = [column.mean() if len(column) else nan for column in columns] if done else [0.0] * 3
        assert before == pytest.approx(expected, nan_ok=True)


def test_running_means_of_a_checkpoint_without_the_count_of_lacking_steps() -> None:
    kept = {"means": {"a": torch.tensor(3.0), "b": torch.tensor(1.0)}, "steps": 2}
    running = RunningScores(**kept)  # type: ignore[arg-type]
    assert running.before(torch.tensor([6.0, 4.0]), ["a", "b"]).tolist() == [3.0, 1.0]
    assert running.before(torch.tensor([0.0, 0.0]), ["a", "b"]).tolist() == [4.0, 2.0]


def by_hand(name: str, s: list[float], task: Task) -> list[float]:
    """The default coefficients of the modalities with scores s, by the rule that the method states."""
    made = []
    for k, own in enumerate(s):
        others = np.mean([x for j, x in enumerate(s) if j != k]) if len(s) > 1 else own
        if name == "ogm":
            ratio = own / others
            made.append(1 - math.tanh(0.8 * ratio) if ratio > 1 else 1.0)
        else:
            made.append(1 + math.tanh(0.8 * ((own / others if task.regression else others / own) - 1)))
    return made


@pytest.mark.parametrize("name", ["ogm", "mlb"])
@pytest.mark.parametrize("task", [Task(3), Task(None)], ids=["classes", "scores"])
@pytest.mark.parametrize("count", [2, 3])
def test_coefficients_do_not_compare_with_what_no_sample_has(name: str, task: Task, count: int) -> None:
    method = registry.method(name)()
    fit = make_fit(method, NAMES[:count], task)
    split = tiny_split(NAMES[:count], task)
    split.present = {"video": torch.zeros(24, dtype=torch.bool)}
    fit.epoch = fit.step = 1
    batch = split.batch(torch.arange(24))
    outputs = fit.model(batch.inputs)
    logits = outputs.own_logits if name == "mlb" else outputs.split_logits
    known = [m for m in NAMES[:count] if m != "video"]
    scores = []
    for m in known:
        z, y = logits[m].detach().double(), batch.target
        if not task.regression:
            scores.append(z.softmax(1)[torch.arange(24), y].mean().item())
        elif name == "mlb":
            scores.append((z[:, 0] - y).square().mean().item())
        else:
            scores.append(1 / (task.loss(z, y.double()).item() + 1e-8))
    method.train_step(batch)
    means = fit.meters.means()
    expected = dict(zip(known, by_hand(name, scores, task), strict=True)) | {"video": 1.0}
    assert {m: means[f"coefficient/{m}"] for m in NAMES[:count]} == pytest.approx(expected, rel=1e-4)


def test_agm_compares_the_known_ones_of_a_step_with_their_own_past() -> None:
    """kappa = exp(alpha min(tau - r, cap)), r_m = exp(mean of the other known s - s_m), and tau of the same ones."""
    scores, running = torch.tensor([1.0, math.nan, 0.4]), torch.tensor([0.9, 2.0, 0.7])
    tau, r = (math.exp(0.7 - 0.9), math.exp(0.9 - 0.7)), (math.exp(0.4 - 1.0), math.exp(1.0 - 0.4))
    expected = [math.exp(0.5 * (tau[0] - r[0])), 1.0, math.exp(0.5 * (tau[1] - r[1]))]
    assert agm_coefficients(scores, running, 0.5, 10.0, partial=True).tolist() == pytest.approx(expected)
    never = torch.tensor([0.9, 2.0, math.nan])
    assert agm_coefficients(scores, never, 0.5, 10.0, partial=True).tolist() == [
        1.0,
        1.0,
        1.0,
    ]  # one is left: nothing to compare


@pytest.mark.parametrize("count", [2, 3])
def test_agm_trains_through_batches_without_a_modality(count: int) -> None:
    method = registry.method("agm")()
    fit = make_fit(method, NAMES[:count])
    split = tiny_split(NAMES[:count])
    split.present = {"audio": torch.arange(24) % 12 < 6}
    fit.epoch = 1
    for start in range(0, 24, 6):
        fit.step += 1
        method.train_step(split.batch(torch.arange(start, start + 6)))
    assert all(p.isfinite().all() for p in fit.model.parameters())
    assert method.state_dict()["lacked"] == {m: 2 * (m == "audio") for m in NAMES[:count]}
