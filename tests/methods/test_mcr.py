"""MCR as a method: neutral settings give other methods, all variants train, draws, weights of terms, its start."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.settings.declaration import build
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, whole_batch
from mcr_bench.methods.joint import Joint
from mcr_bench.methods.multi_loss import MultiLoss
from mcr_bench.tests.support.runs.mcr_losses import PERTURBATIONS, REGRESSION, losses, mcr


def same_weights(a: Fit, b: Fit, rooms: tuple[str, ...]) -> None:
    mine, theirs = a.model.state_dict(), b.model.state_dict()
    names = [n for n in theirs if n.startswith(rooms)]
    assert names
    for name in names:
        assert torch.equal(mine[name], theirs[name]), name


OFF = {"lambda_mipd": 0, "lambda_con": 0, "lambda_ceb": 0}


@pytest.mark.parametrize("variant", [{}, {"latents": "eval"}, {"perturb": "noise_input"}, {"detach_reference": False}])
@pytest.mark.parametrize("task", [Task(3), REGRESSION], ids=["classes", "regression"])
def test_all_weights_zero_is_joint_bit_for_bit(task: Task, variant: dict[str, Any]) -> None:
    method, plain = mcr(**OFF, lambda_uni=0, **variant), Joint()
    one, two = make_fit(method, NAMES[:3], task), make_fit(plain, NAMES[:3], task)
    for _ in range(5):
        step(method)
        step(plain)
    same_weights(one, two, ("encoders", "fusion"))


def test_only_own_heads_is_multi_loss_bit_for_bit() -> None:
    method, plain = mcr(**OFF, lambda_uni=1), build(MultiLoss, {})
    one, two = make_fit(method, NAMES[:3]), make_fit(plain, NAMES[:3])
    for _ in range(5):
        step(method)
        step(plain)
    same_weights(one, two, ("encoders", "fusion", "own_heads"))


@pytest.mark.parametrize("task", [Task(3), REGRESSION], ids=["classes", "regression"])
@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("latents", ["train", "eval"])
@pytest.mark.parametrize("perturb", PERTURBATIONS)
def test_every_variant_trains_with_finite_weights(perturb: str, latents: str, count: int, task: Task) -> None:
    method = mcr(perturb=perturb, latents=latents, lambda_ceb=1, lambda_mipd=1)
    fit = make_fit(method, NAMES[:count], task)
    before = {n: p.detach().clone() for n, p in fit.model.named_parameters()}
    step(method)
    for name, p in fit.model.named_parameters():
        assert p.grad is not None, name
        assert torch.isfinite(p.grad).all(), name
        assert torch.isfinite(p).all(), name
        assert not torch.equal(p, before[name]), name


@pytest.mark.parametrize("perturb", PERTURBATIONS)
def test_a_batch_of_one_skips_the_game(perturb: str) -> None:
    method = mcr(perturb=perturb, lambda_ceb=1)
    fit = make_fit(method)
    step(method, fit.train.batch(torch.tensor([5])))
    assert all(torch.isfinite(p).all() for p in fit.model.parameters())
    means = fit.meters.means()
    assert means["loss/mipd"] == 0
    assert not [name for name in means if name.startswith("divergence")]


@pytest.mark.parametrize("perturb", PERTURBATIONS)
@pytest.mark.parametrize("fusion", ["late-linear", "gated"])
def test_order_of_modalities_does_not_matter(fusion: str, perturb: str) -> None:
    fits = []
    for names in (("audio", "video", "text"), ("text", "audio", "video")):
        method = mcr(lambda_ceb=1, lambda_mipd=1, perturb=perturb)
        fits.append(make_fit(method, names, dtype=torch.float64, fusion=fusion))
        for _ in range(3):
            step(method)
    mine, theirs = (fit.model.state_dict() for fit in fits)
    assert set(mine) == set(theirs)
    for name, tensor in mine.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=1e-9, msg=name)


def test_draws_change_from_step_to_step_and_repeat_with_the_seed() -> None:
    method = mcr()
    fit = make_fit(method)
    seen = []
    for number in (1, 2, 1):
        fit.step = number
        seen.append(losses(method)["mipd"].item())
    assert seen[0] == seen[2] != seen[1]


def test_game_draws_no_dropout_in_the_head() -> None:
    left = []
    for method in (Joint(), mcr()):
        fit = make_fit(method, fusion="gated")
        fit.model.fusion.output = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 3))
        torch.manual_seed(0)
        losses(method)
        left.append(torch.rand(1))
    assert torch.equal(*left)


def test_bf16_steps_are_finite() -> None:
    method = mcr(lambda_ceb=1)
    fit = make_fit(method, precision="bf16")
    for _ in range(3):
        step(method)
    assert all(torch.isfinite(p).all() for p in fit.model.parameters())
    assert 0 < fit.meters.means()["divergence/audio"] < math.log(2)


class Normed(nn.Module):
    """An encoder with running statistics and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Dropout(0.5))

    def forward(self, values: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        found: torch.Tensor = self.layers(values)
        return found


@pytest.mark.parametrize("perturb", PERTURBATIONS)
def test_extra_passes_leave_running_statistics_and_global_draws_alone(perturb: str) -> None:
    left = []
    for method in (Joint(), mcr(perturb=perturb, latents="eval")):
        fit = make_fit(method)
        torch.manual_seed(0)
        fit.model.encoders = nn.ModuleDict({m: Normed() for m in fit.model.modalities})
        losses(method)
        assert all(part.training for part in fit.model.modules())
        left.append((dict(fit.model.encoders.named_buffers()), torch.rand(1)))
    (stats, draw), (mine, my_draw) = left
    assert all(torch.equal(mine[name], stats[name]) for name in stats)
    assert torch.equal(draw, my_draw)


def test_latents_eval_perturbs_features_without_dropout() -> None:
    """With the branch permuted by the identity, train latents give D = 0 and eval latents do not."""
    found = {}
    for latents in ("train", "eval"):
        method = mcr(latents=latents, perturb="noise_latent", noise_scale=0, lambda_mipd=1)
        fit = make_fit(method)
        fit.model.encoders = nn.ModuleDict({m: Normed() for m in fit.model.modalities})
        found[latents] = -losses(method)["mipd"].item()
    assert found["train"] == pytest.approx(0, abs=1e-6)
    assert found["eval"] > 1e-3


def test_bottleneck_trains_encoders_and_decoder_but_no_head() -> None:
    method = mcr(lambda_ceb=1)
    fit = make_fit(method)
    losses(method)["ceb"].backward()
    got = {o.role for _, p, o in fit.model.owned() if p.grad is not None and p.grad.any()}
    assert got == {"encoder", "method"}


def test_terms_carry_their_weights() -> None:
    values = {}
    for weight in (1, 3):
        method = mcr(lambda_mipd=weight, lambda_uni=weight, lambda_con=weight, lambda_ceb=weight)
        make_fit(method)
        values[weight] = {name: loss.item() for name, loss in losses(method).items()}
    assert set(values[1]) == {"fused", "unimodal", "mipd", "contrastive", "ceb"}
    for name, value in values[1].items():
        assert value != 0
        assert values[3][name] == pytest.approx((1 if name == "fused" else 3) * value, rel=1e-5)


def test_unimodal_term_is_the_sum_of_own_losses() -> None:
    method = mcr(lambda_uni=1)
    fit = make_fit(method)
    outputs = method.forward(whole_batch(fit))
    expected = sum(nn.functional.cross_entropy(h, fit.train.target).item() for h in outputs.own_logits.values())
    assert losses(method)["unimodal"].item() == pytest.approx(expected, rel=1e-6)


def test_start_from_unimodal_runs() -> None:
    assert mcr().requires(("a", "b")) == []
    needed = mcr(start="unimodal").requires(("a", "b"))
    assert [(r.method, r.modalities) for r in needed] == [("unimodal", ("a",)), ("unimodal", ("b",))]
    runs = [make_fit(Joint(), (m,), seed=8).model.state_dict() for m in NAMES[:2]]
    fresh = make_fit(mcr()).model.state_dict()
    started = make_fit(mcr(start="unimodal"), dependencies=runs).model.state_dict()
    for name, tensor in started.items():
        room, _, rest = name.partition(".")
        if room in ("encoders", "own_heads"):
            assert torch.equal(tensor, runs[NAMES.index(rest.split(".")[0])][name]), name
        else:
            assert torch.equal(tensor, fresh[name]), name
