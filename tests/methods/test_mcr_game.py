"""The game of MCR: every player's own objective by finite differences, and who gets what gradient."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.testing.fits import NAMES, make_fit, whole_batch
from mcr_bench.methods.terms.games.perturb import permutations
from mcr_bench.tests.support.runs.mcr_losses import PERTURBATIONS, REGRESSION, losses, mcr

K = {"greedy": -1.0, "independent": 0.0, "collaborative": 1.0}


def subsets(players: list[str]) -> list[set[str]]:
    return [set(s) for n in range(1, len(players)) for s in itertools.combinations(players, n)]


class Objectives:
    """The stated objective of each player, in NumPy, as a function of the present weights of `fit.model`.

    What does not depend on the player is as it was when this was made: the reference logits unless `moving`.
    """

    def __init__(self, fit: Fit, k: float, perturb: str, count: int, moving: bool = False) -> None:
        self.fit, self.k, self.perturb, self.moving = fit, k, perturb, moving
        self.players = fit.model.modalities
        n = len(fit.train)
        self.orders = {m: permutations(count, n, fit.generator("permutation", m)).numpy() for m in self.players}
        self.reference = self.bring(None)

    def encode(self, m: str, zero: bool) -> np.ndarray:
        x = self.fit.train.values[m]
        with torch.no_grad():
            features = self.fit.model.encode_one(m, torch.zeros_like(x) if zero else x)
        return features.numpy()

    def bring(self, absent: set[str] | None) -> np.ndarray:
        """Fused logits (P, B, C) with the modalities in `absent` perturbed."""
        with torch.no_grad():
            total = self.fit.model.fusion.bias.numpy()[None, None]
            for m in self.players:
                gone = m in (absent or set())
                branch = (
                    self.encode(m, gone and self.perturb == "zero_input")
                    @ self.fit.model.fusion.slices[m].weight.numpy().T
                )
                if gone and self.perturb == "permute_latent":
                    branch = branch[self.orders[m]]
                total = total + (branch if branch.ndim == 3 else branch[None])
        return total

    def contribution(self, coalition: set[str]) -> float:
        q = self.bring(coalition)
        z = np.broadcast_to(self.bring(None) if self.moving else self.reference, q.shape)
        if self.fit.task.regression:
            return float(((q - z) ** 2).mean())
        return float((jensenshannon(softmax(q, -1), softmax(z, -1), axis=-1) ** 2).mean())

    def of(self, player: str) -> float:
        weights = {True: 1.0, False: self.k}
        return -sum(weights[player in s] * self.contribution(s) for s in subsets(self.players) if weights[player in s])


def check_players(fit: Fit, objectives: Objectives, weight: float) -> None:
    """The gradient in each player's parameters against central differences along a random direction per tensor."""
    draw = torch.Generator().manual_seed(3)
    for player in fit.model.modalities:
        largest = 0.0
        for parameter in fit.model.parameters_of(player, "encoder", "fusion_slice"):
            direction = torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype)
            ends = []
            for sign in (1e-5, -1e-5):
                with torch.no_grad():
                    parameter.add_(sign * direction)
                    ends.append(objectives.of(player))
                    parameter.sub_(sign * direction)
            slope = weight * (ends[0] - ends[1]) / 2e-5
            got = 0.0 if parameter.grad is None else (parameter.grad * direction).sum().item()
            assert got == pytest.approx(slope, rel=1e-4, abs=1e-8)
            largest = max(largest, abs(slope))
        assert largest > 1e-5 or objectives.k == 0  # something was compared


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("strategy", K)
@pytest.mark.parametrize("perturb", ["permute_latent", "zero_input"])
def test_one_backward_gives_every_players_own_gradient(strategy: str, count: int, perturb: str) -> None:
    method = mcr(strategy=strategy, perturb=perturb, lambda_mipd=0.7)
    fit = make_fit(method, NAMES[:count], dtype=torch.float64)
    objectives = Objectives(fit, K[strategy], perturb, 4)
    losses(method)["mipd"].backward()
    check_players(fit, objectives, 0.7)


@pytest.mark.parametrize("strategy", K)
def test_moving_reference_is_part_of_every_players_objective(strategy: str) -> None:
    method = mcr(strategy=strategy, detach_reference=False, lambda_mipd=1)
    fit = make_fit(method, NAMES[:3], dtype=torch.float64)
    objectives = Objectives(fit, K[strategy], "permute_latent", 4, moving=True)
    losses(method)["mipd"].backward()
    check_players(fit, objectives, 1.0)


@pytest.mark.parametrize("count", [2, 3])
def test_regression_game(count: int) -> None:
    method = mcr(lambda_mipd=1)
    fit = make_fit(method, NAMES[:count], REGRESSION, dtype=torch.float64)
    objectives = Objectives(fit, -1.0, "permute_latent", 4)
    losses(method)["mipd"].backward()
    check_players(fit, objectives, 1.0)


def test_divergences_are_logged_by_coalition_and_are_the_contributions() -> None:
    method = mcr(lambda_mipd=0.5)
    fit = make_fit(method, NAMES[:3], dtype=torch.float64)
    value = losses(method)["mipd"].item()
    expected = Objectives(fit, 0.0, "permute_latent", 4)
    logged = {k: v for k, v in fit.meters.means().items() if k.startswith("divergence/")}
    assert set(logged) == {
        "divergence/" + s for s in ("audio", "video", "text", "audio+video", "audio+text", "video+text")
    }
    for name, found in logged.items():
        assert found == pytest.approx(
            expected.contribution(set(name.removeprefix("divergence/").split("+"))), abs=1e-12
        )
        assert 0 < found < math.log(2)
    assert value == pytest.approx(-0.5 * sum(logged.values()))


def test_greedy_game_of_two_trains_both_players_and_nobody_else() -> None:
    method = mcr()
    fit = make_fit(method)
    losses(method)["mipd"].backward()
    for m in fit.model.modalities:
        for role in ("encoder", "fusion_slice"):
            assert any(p.grad is not None and p.grad.any() for p in fit.model.parameters_of(m, role))
    others = [o for _, p, o in fit.model.owned() if p.grad is not None]
    assert {o.role for o in others} == {"encoder", "fusion_slice"}
    assert fit.model.fusion.bias is not None
    assert fit.model.fusion.bias.grad is None


@pytest.mark.parametrize("latents", ["train", "eval"])
@pytest.mark.parametrize("perturb", PERTURBATIONS)
@pytest.mark.parametrize("fusion", ["gated", "concat-mlp"])
def test_other_heads_are_frozen_in_the_game(fusion: str, perturb: str, latents: str) -> None:
    method = mcr(perturb=perturb, latents=latents, lambda_mipd=1)
    fit = make_fit(method, NAMES[:3], fusion=fusion)
    losses(method)["mipd"].backward()
    assert {o.role for _, p, o in fit.model.owned() if p.grad is not None} == {"encoder"}
    assert fit.model.training
    assert all(part.training for part in fit.model.modules())
    for m in fit.model.modalities:
        assert any(p.grad is not None and p.grad.any() for p in fit.model.parameters_of(m, "encoder"))


def test_game_of_a_gated_head_by_finite_differences() -> None:
    """One player, one coalition, independent: the player descends on minus its own contribution."""
    method = mcr(strategy="independent", lambda_mipd=1)
    fit = make_fit(method, fusion="gated", dtype=torch.float64)
    model, x = fit.model, fit.train.values
    orders = permutations(4, len(fit.train), fit.generator("permutation", "audio"))
    with torch.no_grad():
        reference = softmax(model(whole_batch(fit).inputs).logits.numpy(), -1)

    def objective() -> float:
        with torch.no_grad():
            f, g = model.encode_one("audio", x["audio"]), model.encode_one("video", x["video"])
            q = [softmax(model.fuse({"audio": f[o], "video": g}).logits.numpy(), -1) for o in orders]
        return -float(np.mean([jensenshannon(rows, reference, axis=-1) ** 2 for rows in q]))

    losses(method)["mipd"].backward()
    parameter = model.parameters_of("audio", "encoder")[0]
    direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ends = []
    for size in (1e-5, -1e-5):
        with torch.no_grad():
            parameter.add_(size * direction)
            ends.append(objective())
            parameter.sub_(size * direction)
    assert parameter.grad is not None
    got = (parameter.grad * direction).sum().item()
    assert got == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5)
    assert abs(got) > 1e-5
