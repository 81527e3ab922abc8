"""CRMT's official code has rows that are not orthogonal, and slopes of fused logits that add up or are 0."""

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.testing.fits import NAMES, make_fit
from mcr_bench.methods.crmt import CRMT
from mcr_bench.methods.terms.certified.unit_rows import orthogonal_rows, rows_alone
from mcr_bench.tests.methods.golden.crmt_rule import (
    Slopes,
    first_loss,
    jacobians,
    logits_alone,
    second_loss,
    slopes_of,
    symmetric_rows,
)

DOUBLE = {"dtype": torch.float64, "epochs": 4}
INDEX = torch.tensor([3, 17, 4, 9, 11, 20])


def released_rows(weight: Tensor) -> Tensor:
    """Every row without its mean and of length 1."""
    rows = [row - row.sum() / len(row) for row in weight]
    return torch.stack([row / (row * row).sum().sqrt() for row in rows])


def released_slopes(fit: Fit) -> Slopes:
    """Of sums of a_m[c] z_m[c] over c, as gradients add up; 0 of the last modality, whose gradient is cleared first."""
    found = []
    for m in fit.model.modalities:
        gradients = jacobians(fit, m, released_rows) * fit.model.fusion.slices[m].scale.detach()[:, None]
        last = m == fit.model.modalities[-1]
        norms = []
        for c in range(gradients.shape[1]):
            one = 0 * gradients[:, c] if last else sum(gradients[:, k] for k in range(c + 1))
            assert isinstance(one, Tensor)
            norms.append(max(float((row * row).sum().sqrt()) for row in one))
        found.append(norms)
    return found


def of_method(fit: Fit, method: CRMT, epoch: int) -> Tensor:
    """The gradients of the method's loss in an epoch, as one vector."""
    fit.epoch, batch = epoch, fit.train.batch(INDEX)
    return flat(fit, torch.stack(list(method.loss(method.forward(batch), batch).values())).sum())


def flat(fit: Fit, loss: Tensor) -> Tensor:
    learned = [p for _, p, owner in fit.model.owned() if owner.role != "own_head"]
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, learned, materialize_grads=True)])


def apart(one: Tensor, other: Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()


def started(method: CRMT, count: int) -> Fit:
    fit = make_fit(method, NAMES[:count], **DOUBLE)
    draw = torch.Generator().manual_seed(1)
    for scale in fit.model.fusion.slices.values():
        with torch.no_grad():
            scale.scale.add_(torch.rand(3, generator=draw, dtype=torch.float64))
    return fit


@pytest.mark.parametrize("count", [2, 3])
def test_the_first_stage_has_rows_that_are_not_orthogonal(count: int) -> None:
    official, paper = CRMT(variant="official"), CRMT()
    one, other = started(official, count), started(paper, count)
    batch = one.train.batch(INDEX)
    rule = flat(one, first_loss(one, batch.inputs.values, batch.target, 2.0, released_rows))
    assert apart(of_method(one, official, 1), rule) < 1e-9
    assert apart(of_method(other, paper, 1), rule) > 1e-3


@pytest.mark.parametrize("count", [2, 3])
def test_the_second_stage_has_slopes_that_hold_the_scales_and_add_up(count: int) -> None:
    official, paper = CRMT(variant="official"), CRMT()
    one, other = started(official, count), started(paper, count)
    batch = one.train.batch(INDEX)
    alone = logits_alone(one, batch.inputs.values, released_rows)
    rule = flat(one, second_loss(one, alone, batch.target, released_slopes(one)))
    assert apart(of_method(one, official, 4), rule) < 1e-9
    own = logits_alone(other, batch.inputs.values, symmetric_rows)
    without = flat(other, second_loss(other, own, batch.target, slopes_of(other, symmetric_rows)))
    assert apart(of_method(other, paper, 4), without) < 1e-9
    assert apart(without, rule) > 1e-3
    for slopes in (slopes_of(one, released_rows), scaled_only(one)):  # either half of the defect alone
        assert apart(flat(one, second_loss(one, alone, batch.target, slopes)), rule) > 1e-3


def scaled_only(fit: Fit) -> Slopes:
    plain = slopes_of(fit, released_rows)
    scales = [fit.model.fusion.slices[m].scale.tolist() for m in fit.model.modalities]
    return [[s * t for s, t in zip(*rows, strict=True)] for rows in zip(scales, plain, strict=True)]


def cleared_as_released(inputs: list[Tensor], logits: Tensor) -> Slopes:
    """The released loop over classes and inputs, with backward passes, of which the second input is audio."""
    found = [[0.0] * logits.shape[1] for _ in inputs]
    for x in inputs:
        x.grad = None
    for c in range(logits.shape[1]):
        logits[:, c].sum().backward(retain_graph=True)
        for m, x in enumerate(inputs):
            assert x.grad is not None
            gradient = x.grad.clone()
            inputs[1].grad = torch.zeros_like(inputs[1])
            found[m][c] = float(gradient.flatten(1).norm(dim=1).max())
    return found


def test_the_released_loop_clears_the_gradient_of_audio_before_it_reads_it() -> None:
    method = CRMT(variant="official")
    fit = started(method, 2)
    inputs = fit.train.batch(torch.arange(24)).inputs
    values = {m: inputs.values[m].clone().requires_grad_() for m in fit.model.modalities}
    expected = cleared_as_released(list(values.values()), fit.model(inputs.replace(values)).logits)
    assert expected[1] == [0.0] * 3
    torch.testing.assert_close(method.slopes, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12)


def test_a_sample_without_slopes_has_no_radius() -> None:
    """As released only the first of two modalities has slopes: a sample that lacks it is bounded by nothing."""
    method = CRMT(variant="official")
    fit = started(method, 2)
    has, index = torch.arange(24) % 3 > 0, torch.arange(12)
    fit.train.present = {fit.model.modalities[0]: has}
    losses, fit.epoch = [], 4
    for rows in (index, index[has[:12]]):
        batch = fit.train.batch(rows)
        losses.append(method.loss(method.forward(batch), batch)["radius"] * len(rows))
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-9)
    torch.testing.assert_close(flat(fit, losses[0]), flat(fit, losses[1]), rtol=1e-9, atol=1e-12)


def require_paper(fit: Fit, method: CRMT) -> None:
    batch = fit.train.batch(INDEX)
    assert (
        apart(
            of_method(fit, method, 1),
            flat(fit, first_loss(fit, batch.inputs.values, batch.target, 2.0, symmetric_rows)),
        )
        < 1e-6
    )
    expected = torch.tensor(slopes_of(fit, symmetric_rows), dtype=torch.float64)
    torch.testing.assert_close(method.slopes, expected, rtol=1e-6, atol=1e-9)


def test_the_defects_in_the_paper_s_rule_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    method = CRMT()
    require_paper(started(method, 2), method)
    for name, value in (("rows", "alone"), ("released", True)):
        method = CRMT()
        fit = started(method, 2)
        if name == "rows":
            for part in fit.model.fusion.slices.values():
                part.rows = value
        else:
            monkeypatch.setattr(CRMT, "official", True)
        with pytest.raises(AssertionError):
            require_paper(fit, method)


def test_what_the_two_kinds_of_rows_are() -> None:
    weight = torch.randn(3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(rows_alone(weight), released_rows(weight), rtol=1e-12, atol=1e-12)
    both = [rows @ rows.T for rows in (rows_alone(weight), orthogonal_rows(weight))]
    assert [float((gram - torch.eye(3)).abs().max()) > 1e-3 for gram in both] == [True, False]
