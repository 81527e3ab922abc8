"""`mcr.detach_reference=released` against the released two-modality game, written anew from its description.

The released rule (k = -1, 0, 1), for branches a, v of a second pass in evaluation mode, z of the training pass and sg =
stop gradient, J the divergence of an output from z, through which the gradient flows as well:

    greedy         -J(a' + sg v) + J(sg a' + v) - J(sg a + v') + J(a + sg v')
    independent    -J(a' + sg v) - J(sg a + v')
    collaborative  -J(a' + v) - J(a + v')

The bias of the fusion head, or all of a head that is not additive, is in each of these outputs and gets its gradient.
"""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, THREE, make_fit, whole_batch
from mcr_bench.methods.terms.games.perturb import permutations
from mcr_bench.tests.support.runs.mcr_losses import REGRESSION, losses, mcr

STRATEGIES = ("greedy", "independent", "collaborative")
COUNT = 4
Features = dict[str, Tensor]


class Changing(nn.Module):
    """An encoder whose two modes differ: running statistics and dropout."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Dropout(0.3)).double()

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        found: Tensor = self.layers(values)
        return found


def fitted(fusion: str = "late-linear", task: Task = THREE, count: int = 2, **settings: Any) -> tuple[Any, Fit]:
    """MCR with a fit whose encoders change between modes."""
    method = mcr(permutations=COUNT, lambda_mipd=1, **settings)
    fit = make_fit(method, NAMES[:count], task, dtype=torch.float64, fusion=fusion)
    fit.model.encoders = nn.ModuleDict({m: Changing(i) for i, m in enumerate(fit.model.modalities)})
    return method, fit


def kl(p: Tensor, q: Tensor) -> Tensor:
    return (p * (p.log() - q.log())).sum(-1)


def divergence(output: Tensor, reference: Tensor, task: Task) -> Tensor:
    """JS in nats by its definition; mean squared difference in regression."""
    if task.regression:
        return ((output - reference) ** 2).mean()
    p, q = output.softmax(-1), reference.softmax(-1)
    middle = (p + q) / 2
    return (0.5 * kl(p, middle) + 0.5 * kl(q, middle)).mean()


def released_game(fit: Fit, strategy: str, perturb: str, latents: str) -> Tensor:
    """The game's term of the released code, in its own order: branches made, perturbed, summed, compared."""
    model, inputs, players = fit.model, whole_batch(fit).inputs, fit.model.modalities
    orders = {m: permutations(COUNT, len(fit.train), fit.generator("permutation", m)) for m in players}
    model.train()
    trained = {m: model.encoders[m](inputs.values[m]) for m in players}
    if latents == "eval":
        model.encoders.eval()
        second = {m: model.encoders[m](inputs.values[m]) for m in players}
        model.encoders.train()
    else:
        second = trained
    rows = {m: f.repeat(COUNT, 1) for m, f in second.items()}
    if perturb == "permute_latent":
        changed = {m: torch.cat([second[m][order] for order in orders[m]]) for m in players}
    else:
        changed = {m: torch.zeros_like(f) for m, f in rows.items()}
    reference = output(fit, trained).repeat(COUNT, 1)
    a, v = players

    def term(features: Features, *still: str) -> Tensor:
        return divergence(output(fit, features, still), reference, fit.task)

    only_a, only_v = {a: changed[a], v: rows[v]}, {a: rows[a], v: changed[v]}
    if strategy == "greedy":
        return -term(only_a, v) + term(only_a, a) - term(only_v, a) + term(only_v, v)
    if strategy == "independent":
        return -term(only_a, v) - term(only_v, a)
    return -term(only_a) - term(only_v)


def output(fit: Fit, features: Features, still: tuple[str, ...] = ()) -> Tensor:
    """Fused logits; no gradient reaches the players in `still` (branch or, without branches, feature)."""
    fusion = fit.model.fusion
    if fusion.additive:
        branches = {m: f @ fusion.slices[m].weight.T for m, f in features.items()}
        return sum(b.detach() if m in still else b for m, b in branches.items()) + fusion.bias
    return fusion({m: f.detach() if m in still else f for m, f in features.items()}).logits


def gradients(fit: Fit, term: Tensor) -> dict[str, Tensor]:
    """Of every parameter; zero where the term does not reach it."""
    fit.model.zero_grad()
    term.backward()
    named = fit.model.named_parameters()
    return {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in named}


def both(fusion: str, task: Task, strategy: str, perturb: str, latents: str, value: str) -> list[dict[str, Tensor]]:
    """Gradients of ours and of the released game, from the same weights, statistics and draws."""
    method, fit = fitted(fusion, task, strategy=strategy, perturb=perturb, latents=latents, detach_reference=value)
    start = copy.deepcopy(fit.model.state_dict())
    torch.manual_seed(5)
    ours = gradients(fit, losses(method)["mipd"])
    fit.model.load_state_dict(start)
    torch.manual_seed(5)
    return [ours, gradients(fit, released_game(fit, strategy, perturb, latents))]


def distance(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """Relative distance of all gradients of encoders and fusion slices."""
    names = [n for n in theirs if n.startswith(("encoders", "fusion.slices"))]
    mine, other = (torch.cat([g[n].flatten() for n in names]) for g in (ours, theirs))
    return float((mine - other).norm() / other.norm())


@pytest.mark.parametrize("latents", ["train", "eval"])
@pytest.mark.parametrize("perturb", ["permute_latent", "zero_latent"])
@pytest.mark.parametrize("task", [Task(3), REGRESSION], ids=["classes", "regression"])
@pytest.mark.parametrize("fusion", ["late-linear", "gated"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_released_is_the_released_game(strategy: str, fusion: str, task: Task, perturb: str, latents: str) -> None:
    ours, theirs = both(fusion, task, strategy, perturb, latents, "released")
    assert max(g.abs().max() for g in theirs.values()) > 1e-4
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=0, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize(
    ("strategy", "value", "equal"),
    [
        ("greedy", "true", True),
        ("greedy", "false", False),
        ("independent", "true", False),
        ("independent", "false", False),
        ("collaborative", "true", False),
        ("collaborative", "false", True),
    ],
)
def test_which_of_the_other_values_is_the_released_game(strategy: str, value: str, equal: bool) -> None:
    ours, theirs = both("late-linear", Task(3), strategy, "permute_latent", "eval", value)
    assert distance(ours, theirs) < 1e-12 if equal else distance(ours, theirs) > 0.1


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("value", ["true", "released"])
def test_the_fusion_bias_learns_from_the_released_game_unless_greedy(strategy: str, value: str) -> None:
    ours, _ = both("late-linear", Task(3), strategy, "permute_latent", "train", value)
    assert bool(ours["fusion.bias"].any()) is (value == "released" and strategy != "greedy")


@pytest.mark.parametrize("count", [2, 3, 4])
def test_released_and_default_are_one_game_for_greedy_players(count: int) -> None:
    found = []
    for value in ("true", "released"):
        method, fit = fitted(count=count, detach_reference=value)
        torch.manual_seed(5)
        found.append(gradients(fit, losses(method)["mipd"]))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


@pytest.mark.parametrize(("given", "held"), [(True, "true"), (False, "false"), ("released", "released")])
def test_the_setting_takes_the_words_of_files_and_of_command_lines(given: object, held: str) -> None:
    assert mcr(detach_reference=given).detach_reference == held
