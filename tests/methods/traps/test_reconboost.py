"""ReconBoost's official code detaches both sides of the agreement term: it is computed and teaches nothing."""

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.testing.fits import NAMES, make_fit, whole_batch
from mcr_bench.methods import reconboost
from mcr_bench.methods.reconboost import ReconBoost
from mcr_bench.tests.methods.golden.reconboost_rule import stage_loss

WEIGHTS = (5.0, 1.0, 20.0)  # w1, w2, alpha


def both(variant: str, count: int, rule_is_official: bool) -> tuple[Tensor, Tensor]:
    """The gradients (n,) of all weights in stage 1: the method's, and those of the rule in plain torch."""
    method = ReconBoost(variant=variant, alpha=WEIGHTS[2], epochs_per_stage=1, correct_epochs=1)  # type: ignore[arg-type]
    fit = make_fit(method, NAMES[:count], dtype=torch.float64)
    fit.epoch, batch = 3, whole_batch(fit)
    losses = (
        sum(method.loss(method.forward(batch), batch).values()),
        stage_loss(fit.model, batch, method.turns, 1, WEIGHTS, official=rule_is_official),
    )
    weights = [p for p in fit.model.parameters() if p.requires_grad]
    made = [torch.autograd.grad(x, weights, allow_unused=True, materialize_grads=True) for x in losses]
    mine, theirs = (torch.cat([g.flatten() for g in gradients]) for gradients in made)
    return mine, theirs


def require_equal(mine: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3])
def test_official_is_the_released_rule_and_paper_is_another(count: int) -> None:
    require_equal(*both("official", count, rule_is_official=True))
    require_equal(*both("paper", count, rule_is_official=False))
    mine, released = both("paper", count, rule_is_official=True)
    assert (mine - released).norm() > 1e-3 * released.norm()


@pytest.mark.parametrize("count", [2, 3])
def test_the_defect_in_the_rule_of_the_paper_is_seen(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = reconboost.disagreement
    monkeypatch.setattr(reconboost, "disagreement", lambda own, previous: sound(own.detach(), previous))
    with pytest.raises(AssertionError):
        require_equal(*both("paper", count, rule_is_official=False))
