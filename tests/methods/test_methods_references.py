"""Unimodal, ensemble, multi-loss and the methods that start from unimodal runs."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, whole_batch
from mcr_bench.methods.base import Method, Requirement
from mcr_bench.methods.ensemble import Ensemble
from mcr_bench.methods.joint import Joint
from mcr_bench.methods.mcr import MCR
from mcr_bench.methods.multi_loss import MultiLoss
from mcr_bench.methods.uni_pre_finetuned import UniPreFinetuned
from mcr_bench.methods.uni_pre_frozen import UniPreFrozen
from mcr_bench.methods.uni_pre_multi_loss import UniPreMultiLoss
from mcr_bench.methods.unimodal import Unimodal

THREE = Task(3)
STARTING = (Ensemble, UniPreFrozen, UniPreFinetuned, UniPreMultiLoss)


def unimodal_fits(task: Task = THREE, names: tuple[str, ...] = NAMES[:2]) -> list[Fit]:
    """One trained unimodal run per modality."""
    fits = []
    for m in names:
        method = Unimodal()
        fits.append(make_fit(method, (m,), task, optimizer__lr=0.02))
        for _ in range(3):
            step(method)
        fits[-1].model.eval()
    return fits


def started(method: Method, fits: list[Fit]) -> Fit:
    return make_fit(method, task=fits[0].task, dependencies=[f.model.state_dict() for f in fits], optimizer__lr=0.05)


def own_logits(fit: Fit) -> Tensor:
    return fit.model(whole_batch(fit).inputs).own_logits[fit.model.modalities[0]]


def test_unimodal_runs_once_per_modality_and_trains_encoder_and_own_head() -> None:
    assert Unimodal.variants(("a", "b", "c")) == [("a",), ("b",), ("c",)]
    method = Unimodal()
    fit = make_fit(method, ("video",))
    before = copy.deepcopy(fit.model.state_dict())
    step(method)
    moved = {n.split(".")[0] for n, v in fit.model.state_dict().items() if not torch.equal(v, before[n])}
    assert moved == {"encoders", "own_heads"}
    assert torch.equal(method.predict(fit.model, whole_batch(fit).inputs).logits, own_logits(fit))


def test_unimodal_encoder_starts_as_the_joint_model_s() -> None:
    alone = make_fit(Unimodal(), ("video",)).model.encoders["video"].state_dict()
    among = make_fit(MultiLoss(), NAMES[:3]).model.encoders["video"].state_dict()
    assert all(torch.equal(alone[k], among[k]) for k in alone)


@pytest.mark.parametrize("rule", ["probabilities", "logits"])
def test_ensemble_averages_the_unimodal_predictions(rule: str) -> None:
    fits = unimodal_fits()
    method = Ensemble(rule=rule)
    fit = started(method, fits)
    fit.model.eval()
    found = method.predict(fit.model, whole_batch(fit).inputs).logits.softmax(-1)
    a, v = (own_logits(f) for f in fits)
    if rule == "probabilities":
        expected = (a.softmax(-1) + v.softmax(-1)) / 2
    else:
        geometric = (a.softmax(-1) * v.softmax(-1)).sqrt()
        expected = geometric / geometric.sum(-1, keepdim=True)
    torch.testing.assert_close(found, expected)


def test_ensemble_of_regressions_averages_outputs() -> None:
    fits = unimodal_fits(Task(None))
    method = Ensemble()
    fit = started(method, fits)
    found = method.predict(fit.model, whole_batch(fit).inputs).logits
    torch.testing.assert_close(found, (own_logits(fits[0]) + own_logits(fits[1])) / 2)


@pytest.mark.parametrize("cls", STARTING, ids=lambda c: c.name)
def test_methods_that_start_from_unimodal_runs_take_encoders_and_own_heads(cls: type[Method]) -> None:
    assert cls().requires(("b", "a")) == [Requirement("unimodal", ("b",)), Requirement("unimodal", ("a",))]
    fits = unimodal_fits()
    fit = started(cls(), fits)
    state = fit.model.state_dict()
    for m, source in zip(NAMES[:2], fits, strict=True):
        for name, weights in source.model.state_dict().items():
            if name.startswith((f"encoders.{m}.", f"own_heads.{m}.")):
                assert torch.equal(state[name], weights), name


@pytest.mark.parametrize("cls", STARTING, ids=lambda c: c.name)
def test_the_fusion_head_starts_as_the_joint_model_s(cls: type[Method]) -> None:
    fusion = started(cls(), unimodal_fits()).model.fusion.state_dict()
    fresh = make_fit(Joint()).model.fusion.state_dict()
    assert fusion
    assert all(torch.equal(fusion[k], fresh[k]) for k in fresh)


@pytest.mark.parametrize(("weight", "equal"), [(0.0, UniPreFinetuned), (1.0, UniPreMultiLoss)])
def test_the_game_off_from_the_unimodal_start_is_the_fair_baseline(weight: float, equal: type[Method]) -> None:
    fits, off = unimodal_fits(), {"lambda_mipd": 0.0, "lambda_con": 0.0, "lambda_ceb": 0.0}
    game, plain = MCR(start="unimodal", lambda_uni=weight, **off), equal()
    one, two = started(game, fits), started(plain, fits)
    for _ in range(3):
        step(game)
        step(plain)
    state = one.model.state_dict()
    for name, theirs in two.model.state_dict().items():
        assert torch.equal(state[name], theirs) or (weight == 0 and name.startswith("own_heads")), name


def test_a_missing_or_unfitting_unimodal_run_is_refused() -> None:
    fits = unimodal_fits()
    with pytest.raises(RuntimeError, match="2 unimodal runs are needed, 1 were given"):
        started(Ensemble(), fits[:1])
    with pytest.raises(RuntimeError, match="Missing key"):
        started(Ensemble(), fits[::-1])


def moved_rooms(method: Method) -> set[str]:
    """Which parts of a started model two steps change."""
    fit = started(method, unimodal_fits())
    before = copy.deepcopy(fit.model.state_dict())
    for _ in range(2):
        step(method)
    return {n.split(".")[0] for n, v in fit.model.state_dict().items() if not torch.equal(v, before[n])}


def test_what_each_start_goes_on_to_train() -> None:
    assert moved_rooms(UniPreFrozen()) == {"fusion"}
    assert moved_rooms(UniPreFinetuned()) == {"encoders", "fusion"}
    assert moved_rooms(UniPreMultiLoss()) == {"encoders", "own_heads", "fusion"}


class NoisyEncoder(nn.Module):
    """(B, 5) -> (B, 6); different at every pass in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.noise = nn.Linear(5, 6), nn.Dropout(0.5)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.noise(self.linear(values))


def test_frozen_encoders_run_in_evaluation_mode_while_the_fusion_head_trains() -> None:
    method = UniPreFrozen()
    fit = started(method, unimodal_fits())
    fit.model.encoders["audio"] = NoisyEncoder()
    passes = []
    for _ in range(2):
        fit.model.train()
        passes.append(method.forward(whole_batch(fit)).features["audio"])
    assert torch.equal(*passes)
    assert fit.model.fusion.training


def test_multi_loss_gradient_is_the_fused_one_plus_weighted_own_ones() -> None:
    fit = make_fit(MultiLoss(weight=0.3), dtype=torch.float64)
    batch, parameters = whole_batch(fit), list(fit.model.parameters())
    outputs = fit.model(batch.inputs)
    terms = [(1.0, outputs.logits)] + [(0.3, z) for z in outputs.own_logits.values()]
    expected = [torch.zeros_like(p) for p in parameters]
    for weight, logits in terms:
        picked = -(logits - logits.logsumexp(-1, keepdim=True))[torch.arange(len(batch.target)), batch.target]
        parts = torch.autograd.grad(weight * picked.mean(), parameters, retain_graph=True, allow_unused=True)
        expected = [e if g is None else e + g for e, g in zip(expected, parts, strict=True)]
    method = MultiLoss(weight=0.3)
    found = make_fit(method, dtype=torch.float64)
    step(method)
    for p, e in zip(found.model.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, e)
    logged = found.meters.means()
    assert {"loss/fused", "loss/own/audio", "loss/own/video"} <= logged.keys()
    assert all(math.isfinite(v) for v in logged.values())
