"""MLA's released rule: nothing is projected; entropies are over the batch; the denominator would be a matrix."""

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.testing.fits import NAMES, make_fit, whole_batch
from mcr_bench.bench.testing.trials.epochs import batches, begin_epoch, make_step, train
from mcr_bench.methods import mla
from mcr_bench.methods.mla import Mla
from mcr_bench.tests.methods.golden.in_turns import require_equal
from mcr_bench.tests.methods.golden.mla_rule import Weights, steps

PLAIN = {"optimizer__name": "sgd", "optimizer__momentum": 0.0, "optimizer__weight_decay": 0.0, "clip_norm": 0.0}


def trained(
    variant: str, count: int, alpha: float | None, wrong: bool = False
) -> tuple[Weights, Weights, list[Tensor]]:
    """The weights after an epoch of the method, and by the rule in plain torch; and its gradients of the head."""
    method = Mla(variant=variant)  # type: ignore[arg-type]
    fit = make_fit(method, NAMES[:count], dtype=torch.float64, batch_size=8, optimizer__lr=0.2, **PLAIN)
    begin_epoch(method)
    parts = batches(method)
    rule, gradients = steps(fit.model, parts, method.turns, 0.2, alpha, wrong)
    for part in parts:
        make_step(method, part)
    return {name: p.detach() for name, p in fit.model.named_parameters()}, rule, gradients


@pytest.mark.parametrize("count", [2, 3])
def test_official_projects_nothing_and_paper_does(count: int) -> None:
    require_equal(*trained("official", count, alpha=None)[:2])
    mine, released, _ = trained("paper", count, alpha=None)
    assert (mine["fusion.head.weight"] - released["fusion.head.weight"]).norm() > 1e-3
    _, _, projected = trained("paper", count, alpha=0.1)
    _, _, plain = trained("paper", count, alpha=None)
    assert (projected[1] - plain[1]).norm() > 1e-3 * plain[1].norm()


@pytest.mark.parametrize("count", [2, 3])
def test_a_projection_that_never_runs_would_be_seen(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    require_equal(*trained("paper", count, alpha=0.1)[:2])
    monkeypatch.setattr(Mla, "after_turn", lambda *_: None)
    with pytest.raises(AssertionError):
        require_equal(*trained("paper", count, alpha=0.1)[:2])


def by_a_matrix(projection: Tensor, direction: Tensor, alpha: float) -> Tensor:
    r = direction[:, None]
    k = projection @ r
    changed = projection - (k @ k.T) / (alpha + k @ r.T)
    return changed / changed.norm()


@pytest.mark.parametrize("count", [2, 3])
def test_the_denominator_as_a_matrix_would_be_seen(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mla, "next_projection", by_a_matrix)
    require_equal(*trained("paper", count, alpha=0.1, wrong=True)[:2])
    with pytest.raises(AssertionError):
        require_equal(*trained("paper", count, alpha=0.1)[:2])


def predictions(variant: str, count: int) -> tuple[Tensor, list[Tensor]]:
    """What is predicted, and every modality's logits."""
    method = Mla(variant=variant)  # type: ignore[arg-type]
    fit = make_fit(method, NAMES[:count], dtype=torch.float64, optimizer__lr=0.05)
    train(method, 3)
    fit.model.eval()
    with torch.no_grad():
        outputs = method.predict(fit.model, whole_batch(fit).inputs)
    state = fit.model.state_dict()
    z = [f @ state["fusion.head.weight"].T + state["fusion.head.bias"] for f in outputs.features.values()]
    return outputs.logits, z


def released(z: list[Tensor]) -> Tensor:
    """One weight per modality for the batch, from entropies of the softmax over its samples."""
    probabilities = [x.softmax(dim=0) for x in z]
    h = torch.stack([-(p * p.log()).sum() for p in probabilities])
    gates = torch.exp(h.max() - h)
    return sum(g * x for g, x in zip(gates / gates.sum(), z, strict=True))  # type: ignore[return-value]


@pytest.mark.parametrize("count", [2, 3])
def test_official_weighs_whole_batches_and_paper_does_not(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, z = predictions("official", count)
    torch.testing.assert_close(logits, released(z), rtol=1e-9, atol=1e-12)
    logits, z = predictions("paper", count)
    assert (logits - released(z)).norm() > 1e-3 * logits.norm()
    monkeypatch.setattr(Mla, "official", property(lambda _: True))
    logits, z = predictions("paper", count)
    torch.testing.assert_close(logits, released(z), rtol=1e-9, atol=1e-12)
