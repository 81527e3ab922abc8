"""CRMT: orthogonal rows and their gradient, margins and radii by hand, and what each of its two stages trains."""

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, whole_batch
from mcr_bench.bench.testing.trials.epochs import batches, begin_epoch, train
from mcr_bench.methods.crmt import CRMT
from mcr_bench.methods.terms.certified.radius import certified_radius, soft_margin
from mcr_bench.methods.terms.certified.unit_rows import orthogonal_rows
from mcr_bench.tests.methods.golden.crmt_rule import (
    first_loss,
    jacobians,
    logits_alone,
    margin_by_hand,
    second_loss,
    slopes_of,
    symmetric_rows,
)

SGD = {"optimizer__name": "sgd", "optimizer__momentum": 0.0, "optimizer__weight_decay": 0.0, "clip_norm": 0.0}
FOUR_EPOCHS = {"dtype": torch.float64, "epochs": 4, "optimizer__lr": 0.1, "schedule__name": "constant", **SGD}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(2, 2), (3, 7), (6, 6)])
def test_rows_are_orthogonal_and_the_nearest(shape: tuple[int, int]) -> None:
    weight = drawn(*shape)
    found = orthogonal_rows(weight)
    torch.testing.assert_close(found @ found.T, torch.eye(shape[0], dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(found, symmetric_rows(weight), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("weight", [drawn(3, 5), drawn(4, 4, seed=1), 2 * torch.eye(3, 4, dtype=torch.float64)])
def test_the_gradient_of_orthogonal_rows_also_where_singular_values_are_equal(weight: Tensor) -> None:
    found, wanted = [], drawn(*weight.shape, seed=2)
    leaf = weight.clone().requires_grad_()
    (orthogonal_rows(leaf) * wanted).sum().backward()
    for i in range(weight.numel()):
        sides = []
        for sign in (1, -1):
            moved = weight.clone()
            moved.view(-1)[i] += sign * 1e-5
            sides.append((symmetric_rows(moved) * wanted).sum())
        found.append((sides[0] - sides[1]) / 2e-5)
    assert leaf.grad is not None
    torch.testing.assert_close(leaf.grad.flatten(), torch.stack(found), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_margins_by_hand(count: int) -> None:
    logits = {m: 3 * drawn(5, 4, seed=i) for i, m in enumerate(NAMES[:count])}
    target = torch.tensor([0, 3, 1, 2, 3])
    expected = [margin_by_hand([z[i].tolist() for z in logits.values()], y) for i, y in enumerate(target.tolist())]
    assert soft_margin(logits, target).tolist() == pytest.approx(expected, rel=1e-12)
    has = torch.tensor([True, False, True, True, False])
    some = [
        margin_by_hand([z[i].tolist() for m, z in logits.items() if has[i] or m != NAMES[0]], y)
        for i, y in enumerate(target.tolist())
    ]
    assert soft_margin(logits, target, {NAMES[0]: has}).tolist() == pytest.approx(some, rel=1e-12)


def test_margins_of_large_logits_are_finite() -> None:
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    found = soft_margin({"audio": logits}, torch.tensor([0, 0]))
    assert found.tolist() == pytest.approx([-11.5129255, 2e4])
    found.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_radius_by_hand() -> None:
    """a z + b = (1, -.5, -.5) + (-.5, 3, 1) + (0, 0, .25) = (.5, 2.5, .75), so that the runner-up of class 2 is 1."""
    logits = torch.tensor([[[1.0, -0.5, -0.5]], [[-1.0, 6.0, 2.0]]], dtype=torch.float64)
    scales = torch.tensor([[1.0, 1.0, 1.0], [0.5, 0.5, 0.5]], dtype=torch.float64)
    bias, slopes = torch.tensor([0.0, 0.0, 0.25], dtype=torch.float64), torch.tensor([[1.0, 2.0, 3.0], [4.0, 6.0, 8.0]])
    one = certified_radius(logits, scales, bias, slopes.double(), torch.tensor([2]))
    assert one.item() == pytest.approx((0.75 - 2.5) / (5.0**2 + 7.0**2) ** 0.5)
    kept = torch.tensor([[True], [False]])
    alone = certified_radius(logits, scales, bias, slopes.double(), torch.tensor([2]), kept)
    assert alone.item() == pytest.approx((-0.5 - -0.5 + 0.25) / 5.0)


def test_the_radius_bounds_where_scales_differ_in_sign() -> None:
    """z = W x with a = (1/2, -1/4) and equal slopes: no shorter change of x than the radius makes class 1 win."""
    weight = torch.tensor([[3.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
    x, scales = torch.tensor([2.0, 1.0], dtype=torch.float64), torch.tensor([[0.5, -0.25]], dtype=torch.float64)
    slopes, bias = torch.full((1, 2), 3.0, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    logits, target = (weight @ x)[None, None], torch.tensor([0])
    found = certified_radius(logits, scales, bias, slopes, target).item()
    normal = scales[0, 0] * weight[0] - scales[0, 1] * weight[1]  # of the line on which the two classes are equal
    distance = float(normal @ x / normal.norm())
    assert found == pytest.approx((0.5 * 6 + 0.25 * 3) / (0.5 * 3 + 0.25 * 3))
    assert found <= distance
    assert certified_radius(logits, scales, bias, slopes, target, released=True).item() > distance


@pytest.mark.parametrize("task", [Task(3), Task(5)], ids=["3", "5"])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_first_stage(count: int, task: Task) -> None:
    method = CRMT(rho=1.3)
    fit = make_fit(method, NAMES[:count], task, dtype=torch.float64)
    fit.model.train()
    fit.epoch, batch = 1, fit.train.batch(torch.tensor([3, 17, 4, 9, 11]))
    found = sum(method.loss(method.forward(batch), batch).values())
    expected = first_loss(fit, batch.inputs.values, batch.target, 1.3, symmetric_rows)
    assert isinstance(found, Tensor)
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)
    learned = [p for _, p, owner in fit.model.owned() if owner.role != "own_head"]
    gradients = [torch.autograd.grad(x, learned) for x in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-7, atol=1e-10)


def second_stage(count: int) -> tuple[CRMT, Fit]:
    """A method after its first stage of three epochs of four."""
    method = CRMT()
    fit = make_fit(method, NAMES[:count], **FOUR_EPOCHS)
    train(method, 3)
    return method, fit


@pytest.mark.parametrize("count", [2, 3])
def test_the_second_stage_moves_the_scales_along_the_gradient_of_the_radius(count: int) -> None:
    method, fit = second_stage(count)
    before = {name: p.detach().clone() for name, p in fit.model.named_parameters()}
    begin_epoch(method)
    slopes = slopes_of(fit, symmetric_rows)
    torch.testing.assert_close(method.slopes, torch.tensor(slopes, dtype=torch.float64), rtol=1e-9, atol=1e-12)
    batch = batches(method)[0]
    alone = logits_alone(fit, batch.inputs.values, symmetric_rows)
    scales = {f"fusion.slices.{m}.scale": fit.model.fusion.slices[m].scale for m in alone}
    expected = torch.autograd.grad(second_loss(fit, alone, batch.target, slopes), list(scales.values()))
    method.train_step(batch)
    for (name, scale), gradient in zip(scales.items(), expected, strict=True):
        torch.testing.assert_close(scale, before[name] - 0.1 * method.scale_rate * gradient, rtol=1e-8, atol=1e-11)
    for name, p in fit.model.named_parameters():
        assert name in scales or torch.equal(p, before[name]), name
    assert all(p.requires_grad for p in fit.model.parameters())


def test_slopes_are_found_once_and_are_resumed() -> None:
    method, _ = second_stage(2)
    assert method.state_dict() == {"slopes": None}
    begin_epoch(method)
    kept = method.state_dict()["slopes"]
    method.train_step(batches(method)[0])
    again = CRMT()
    make_fit(again, **FOUR_EPOCHS).epoch = 4
    again.load_state_dict({"slopes": kept})
    again.on_epoch_start()
    assert torch.equal(again.slopes, kept)
    assert torch.equal(method.slopes, kept)


@pytest.mark.parametrize(
    ("share", "epochs", "last"),
    [(0.25, 4, [4]), (0.0, 4, []), (0.5, 5, [4, 5]), (0.25, 1, []), (0.9, 10, [*range(2, 11)])],
)
def test_the_epochs_of_the_second_stage(share: float, epochs: int, last: list[int]) -> None:
    method = CRMT(share=share)
    fit = make_fit(method, epochs=epochs)
    seen = []
    for fit.epoch in range(1, epochs + 1):
        batch = whole_batch(fit)
        if "radius" in method.loss(method.forward(batch), batch):
            seen.append(fit.epoch)
    assert seen == last


def test_the_slope_of_a_modality_is_that_of_samples_that_have_it() -> None:
    method = CRMT()
    fit = make_fit(method, **FOUR_EPOCHS)
    all_slopes = [jacobians(fit, m, symmetric_rows).flatten(2).norm(dim=2) for m in NAMES[:2]]
    has = all_slopes[0].sum(1) < all_slopes[0].sum(1).median()
    fit.train.present = {"audio": has}
    fit.epoch = 4
    expected = torch.stack([all_slopes[0][has].amax(0), all_slopes[1].amax(0)])
    torch.testing.assert_close(method.slopes, expected, rtol=1e-9, atol=1e-12)
    assert (all_slopes[0].amax(0) > expected[0]).any()


def test_more_classes_than_features_are_an_error_that_names_the_way_out() -> None:
    with pytest.raises(UserError, match=r"7 orthogonal.*least 7, not 6.*model\.width=7.*crmt\.variant=official"):
        make_fit(CRMT(), task=Task(7))
    make_fit(CRMT(variant="official"), task=Task(7))
    with pytest.raises(UserError, match=r"late-linear"):
        make_fit(CRMT(), fusion="gated")
