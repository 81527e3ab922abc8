"""The formula of the method, with numbers worked out by hand; `mcr-bench check` has the rest."""

import torch

from mcr_bench.bench.testing.fits import make_fit, step, whole_batch

from mcr_bench_example.focused import Focused, focus


def test_a_sample_that_is_learned_counts_nothing() -> None:
    assert focus(torch.tensor([3.0, 2.0]), torch.tensor([1.0, 0.0]), gamma=1.0) == 1.0


def test_without_focus_it_is_the_mean() -> None:
    assert focus(torch.tensor([3.0, 2.0]), torch.tensor([1.0, 0.5]), gamma=0.0) == 2.5


def test_a_sample_that_lacks_the_modality_does_not_count() -> None:
    scores, having = torch.tensor([0.5, 0.5]), torch.tensor([True, False])
    assert focus(torch.tensor([2.0, 9.0]), scores, gamma=1.0, having=having) == 1.0


def test_a_step_adds_the_own_losses_to_the_fused_one() -> None:
    method = Focused(weight=0.5, gamma=0.0)
    fit = make_fit(method, ("audio", "video"))
    batch = whole_batch(fit)
    outputs = method.forward(batch)
    losses = method.loss(outputs, batch)
    own = [fit.task.loss(logits, batch.target) for logits in outputs.own_logits.values()]
    torch.testing.assert_close(losses["own"], 0.5 * (own[0] + own[1]) / 2)
    step(method)
    assert fit.step == 1
