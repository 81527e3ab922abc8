"""MCR's game and AGM's attribution with many modalities: weights, drawn coalitions, and what depends on no order."""

import itertools
from collections import Counter
from collections.abc import Callable

import pytest
import torch

from mcr_bench.bench.core.seeds import generator
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, tiny_split, whole_batch
from mcr_bench.bench.training.evaluation import absent_inputs, subset_logits
from mcr_bench.methods.agm import Agm
from mcr_bench.methods.base import Method
from mcr_bench.methods.joint import Joint
from mcr_bench.methods.terms.attribution import attribute
from mcr_bench.methods.terms.games import game
from mcr_bench.tests.support.runs.mcr_losses import REGRESSION, losses, mcr


def drawn(players: tuple[str, ...], seed: int = 0) -> list[game.Coalition]:
    return game.drawn_coalitions(list(players), generator(seed, "method"))


@pytest.mark.parametrize(("count", "all_weigh"), [(2, 2), (3, 6), (4, 2), (5, 2), (6, 2)])
def test_from_four_modalities_on_all_coalitions_together_weigh_as_those_of_two(count: int, all_weigh: int) -> None:
    """2^M - 2 coalitions, each times 1 (M = 2, 3) or 1 / (2^(M-1) - 1)."""
    every = game.coalitions(list(NAMES[:count]))
    weight = game.coalition_weight(count, len(every))
    assert weight == pytest.approx(1 if count < 4 else 1 / (2 ** (count - 1) - 1))
    assert weight * len(every) == pytest.approx(all_weigh)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_up_to_four_modalities_a_step_takes_every_coalition(count: int) -> None:
    assert drawn(NAMES[:count]) == game.coalitions(list(NAMES[:count]))


@pytest.mark.parametrize("count", [5, 6])
def test_from_five_on_sixteen_coalitions_come_in_complementary_pairs(count: int) -> None:
    players = NAMES[:count]
    for seed in range(5):
        found = {frozenset(s) for s in drawn(players, seed)}
        assert len(found) == 16
        assert found == {frozenset(players) - s for s in found}
        assert all(0 < len(s) < count for s in found)


def test_every_coalition_is_drawn_equally_often_and_with_its_share_of_the_weight() -> None:
    """Of M = 5: 15 pairs, 8 drawn: each coalition in 8/15 of the steps, at 15/8 of 1/15."""
    steps = 3000
    seen = Counter(frozenset(s) for seed in range(steps) for s in drawn(NAMES[:5], seed))
    assert len(seen) == 30
    expected = steps * 8 / 15
    assert all(abs(n - expected) < 5 * (expected * 7 / 15) ** 0.5 for n in seen.values())
    assert game.coalition_weight(5, 16) == pytest.approx(15 / 8 / 15)


def test_draws_do_not_depend_on_the_order_of_modalities() -> None:
    for order in itertools.islice(itertools.permutations(NAMES), 0, 720, 97):
        assert {frozenset(s) for s in drawn(order, 3)} == {frozenset(s) for s in drawn(NAMES, 3)}


@pytest.mark.parametrize("count", [4, 5, 6])
def test_the_game_is_the_weighted_sum_of_the_contributions_of_its_coalitions(count: int) -> None:
    """Against one contribution at a time, each from the perturbed and intact logits."""
    method = mcr(lambda_mipd=0.5)
    fit = make_fit(method, NAMES[:count], dtype=torch.float64)
    value = losses(method)["mipd"].item()
    outputs = fit.model(whole_batch(fit).inputs)
    orders = {
        m: torch.rand(4, len(fit.train), generator=fit.generator("permutation", m)).argsort(-1) for m in NAMES[:count]
    }
    chosen = game.drawn_coalitions(list(NAMES[:count]), fit.generator("coalitions"))
    total = 0.0
    for coalition in chosen:
        logits = fit.model.fusion.bias + sum(
            z[orders[m]] if m in coalition else z for m, z in outputs.branch_logits.items()
        )
        p, q = logits.softmax(-1), outputs.logits.softmax(-1).expand_as(logits)
        middle = (p + q) / 2
        total += 0.5 * ((p * (p / middle).log()).sum(-1) + (q * (q / middle).log()).sum(-1)).mean().item()
    every = 2**count - 2
    assert value == pytest.approx(-0.5 * total * (every / len(chosen)) / (2 ** (count - 1) - 1))
    logged = {name for name in fit.meters.means() if name.startswith("divergence/")}
    by_size = {f"divergence/of_{len(s)}" for s in chosen}
    assert logged == (by_size if count > 4 else {"divergence/" + "+".join(s) for s in chosen})


@pytest.mark.parametrize("count", [4, 6])
@pytest.mark.parametrize("strategy", ["greedy", "independent", "collaborative"])
def test_every_player_gets_the_gradient_of_its_own_objective(strategy: str, count: int) -> None:
    """Player m: -w (sum_{S with m} D_S + k sum_{S without m} D_S), each D_S a function of m's parameters alone."""
    k = {"greedy": -1.0, "independent": 0.0, "collaborative": 1.0}[strategy]
    players = list(NAMES[:count])
    intact = {m: torch.randn(6, 3, dtype=torch.float64, generator=generator(1, "data", m)) for m in players}
    orders = {m: torch.rand(2, 6, generator=generator(2, "data", m)).argsort(-1) for m in players}
    chosen = drawn(NAMES[:count], 7)

    def contributions(values: dict[str, torch.Tensor], reference: torch.Tensor) -> list[torch.Tensor]:
        whole = {s: sum(z[orders[m]] if m in s else z for m, z in values.items()) for s in chosen}
        return [game.jensen_shannon(q, reference) for q in whole.values()]

    leaves = {m: z.clone().requires_grad_() for m, z in intact.items()}
    absent = {m: z[orders[m]] for m, z in leaves.items()}
    found = game.divergences(leaves, absent, lambda parts: sum(parts.values()), game.jensen_shannon, k, chosen=chosen)
    (-torch.stack(list(found.values())).sum()).backward()
    for player in players:
        own = {m: z.clone().requires_grad_(m == player) for m, z in intact.items()}
        parts = contributions(own, sum(intact.values()))
        objective = sum(-d * (1.0 if player in s else k) for s, d in zip(chosen, parts, strict=True))
        objective.backward()
        torch.testing.assert_close(leaves[player].grad, own[player].grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("fusion", ["late-linear", "gated"])
@pytest.mark.parametrize("make", [lambda: mcr(lambda_mipd=1.0), lambda: Agm(clip=False)], ids=["mcr", "agm"])
def test_six_modalities_in_any_order_train_alike(make: Callable[[], Method], fusion: str) -> None:
    trained = []
    for names in (NAMES, NAMES[::-1]):
        method = make()
        fit = make_fit(method, names, fusion=fusion, dtype=torch.float64, optimizer__name="sgd")
        for _ in range(2):
            step(method)
        trained.append({name: p.detach().clone() for name, p in fit.model.encoders.named_parameters()})
    for name, p in trained[0].items():
        torch.testing.assert_close(trained[1][name], p, rtol=1e-8, atol=1e-10)


def test_regression_with_six_modalities_trains() -> None:
    for method in (mcr(), Agm()):
        fit = make_fit(method, NAMES, REGRESSION)
        step(method)
        assert all(p.grad.isfinite().all() for p in fit.model.parameters() if p.grad is not None)


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("count", [5, 6])
def test_sampled_shares_still_sum_to_the_logits_and_are_exact_for_an_additive_head(count: int, official: bool) -> None:
    fit = make_fit(Joint(), NAMES[:count], dtype=torch.float64)
    inputs, model = whole_batch(fit).inputs, fit.model
    _, shares = attribute(model, inputs, fit.generator(), zero_gradient=True, masked_in_evaluation=official)
    outputs = model(inputs)
    torch.testing.assert_close(sum(shares.values()), outputs.logits)
    # phi_m = s_m - s_m(0) + (b + sum_j s_j(0)) / M: what all modalities have when they are absent is shared equally
    absent = model(inputs.replace({m: torch.zeros_like(x) for m, x in inputs.values.items()}))
    for m, share in shares.items():
        expected = outputs.branch_logits[m] - absent.branch_logits[m] + absent.logits / count
        torch.testing.assert_close(share, expected)


@pytest.mark.parametrize("count", [5, 6])
def test_predictions_of_many_modalities_keep_single_and_leave_one_out_subsets(count: int) -> None:
    names = NAMES[:count]
    method, val = Joint(), tiny_split(names, n=11, seed=5)
    fit = make_fit(method, names)
    found = subset_logits(method, fit.model, val, absent_inputs(fit.train), 4)
    assert len(found) == count * (count - 1) + 1 < 2**count - 1
    assert {(), *((m,) for m in names), *(tuple(n for n in names if n != m) for m in names)} <= set(found)
    assert all(list(s) == [m for m in names if m in s] for s in found)
    assert set(found) == set(subset_logits(method, fit.model, val, absent_inputs(fit.train), 4))
