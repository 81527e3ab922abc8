"""AUG's official code never gives the classifiers that it adds to the optimiser: their own layers stay as drawn."""

import pytest
import torch
from torch import nn

from mcr_bench.bench.testing.fits import NAMES, make_fit
from mcr_bench.bench.testing.trials.epochs import batches, begin_epoch, make_step
from mcr_bench.methods.aug import Aug
from mcr_bench.tests.methods.golden.aug_rule import Weights, steps
from mcr_bench.tests.methods.golden.in_turns import require_equal

PLAIN = {"optimizer__name": "sgd", "optimizer__momentum": 0.9, "optimizer__weight_decay": 0.0, "clip_norm": 0.0}
ONE_STEP = {**PLAIN, "optimizer__momentum": 0.0}


def trained(variant: str, count: int, fixed: bool) -> tuple[Weights, Weights, list[Weights]]:
    """The weights after an epoch of the method, those by the rule in plain torch, and the rule's gradients."""
    method = Aug(variant=variant)  # type: ignore[arg-type]
    fit = make_fit(method, NAMES[:count], dtype=torch.float64, batch_size=8, optimizer__lr=0.3, **ONE_STEP)
    for name in ("video_1", "audio_1", "video_2"):
        fit.grow(name)
    begin_epoch(method)
    parts = batches(method)
    rule, gradients = steps(fit.model, parts, method.turns, 0.3, 0.5, fixed)
    for part in parts:
        make_step(method, part)
    return {name: p.detach() for name, p in fit.model.named_parameters()}, rule, gradients


@pytest.mark.parametrize("count", [2, 3])
def test_official_is_the_released_rule_and_paper_is_another(count: int) -> None:
    require_equal(*trained("official", count, fixed=True)[:2])
    require_equal(*trained("paper", count, fixed=False)[:2])
    mine, released, _ = trained("paper", count, fixed=True)
    layer = "extras.video_1.weight"
    assert (mine[layer] - released[layer]).norm() > 1e-3 * released[layer].norm()
    _, _, gradients = trained("paper", count, fixed=False)
    largest = max(g[layer].norm().item() for g in gradients if layer in g)
    assert largest > 1e-3 * max(g["fusion.head.weight"].norm().item() for g in gradients)


def test_official_does_not_move_what_has_grown_and_still_reads_it() -> None:
    method = Aug(variant="official")
    fit = make_fit(method, optimizer__lr=0.1, **{**PLAIN, "optimizer__weight_decay": 0.1})
    layer = fit.grow("audio_1")
    before = {name: p.clone() for name, p in layer.named_parameters()}
    begin_epoch(method)
    for batch in batches(method):
        make_step(method, batch)
    assert all(torch.equal(before[name], p) for name, p in layer.named_parameters())
    inputs = fit.train.batch(torch.arange(5)).inputs
    with torch.no_grad():
        fit.model.eval()
        first = method.predict(fit.model, inputs).logits
        layer.get_parameter("weight").mul_(-3)
        assert not torch.allclose(first, method.predict(fit.model, inputs).logits)


@pytest.mark.parametrize("count", [2, 3])
def test_the_defect_in_the_rule_of_the_paper_would_be_seen(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = Aug.grow

    def untrained(self: Aug, name: str) -> nn.Module:
        return sound(self, name).requires_grad_(False)

    monkeypatch.setattr(Aug, "grow", untrained)
    with pytest.raises(AssertionError):
        require_equal(*trained("paper", count, fixed=False)[:2])
