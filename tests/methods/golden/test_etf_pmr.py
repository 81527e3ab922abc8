"""ETF-PMR by plain loops: the simplex, where it is placed, who is behind, and both forms of the loss."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.evaluated import Evaluation
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, tiny_split, whole_batch
from mcr_bench.methods.etf_pmr import EtfPmr
from mcr_bench.methods.joint import Joint
from mcr_bench.methods.terms.features.prototype_loss import shares
from mcr_bench.methods.terms.features.simplex import simplex_vertices

DOUBLE = {"dtype": torch.float64, "optimizer__name": "sgd"}
NOTHING = Evaluation(torch.zeros(0), {}, {}, None, torch.zeros(0), {})


@pytest.mark.parametrize(("classes", "width"), [(2, 1), (2, 9), (6, 5), (6, 512), (28, 64)])
def test_the_vertices_are_a_simplex_equiangular_tight_frame(classes: int, width: int) -> None:
    v = simplex_vertices(classes, width, torch.Generator().manual_seed(classes))
    assert v.shape == (classes, width)
    expected = torch.full((classes, classes), -1 / (classes - 1), dtype=torch.float64).fill_diagonal_(1)
    torch.testing.assert_close(v @ v.T, expected, rtol=0, atol=1e-12)


def test_draws_turn_the_vertices() -> None:
    one, other = (simplex_vertices(4, 7, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert not torch.allclose(one, other)


def test_too_few_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="6 vertices need 5 dimensions, not 4"):
        simplex_vertices(6, 4, torch.Generator())
    with pytest.raises(UserError, match=r"model.width=6. Set model.width=8 or more"):
        make_fit(EtfPmr(), task=Task(9))
    make_fit(EtfPmr(start=1), task=Task(7))


def prototypes(method: EtfPmr) -> Tensor:
    placed: Tensor = method.state_dict()["prototypes"]
    return placed


def features_of(fit: Fit) -> dict[str, Tensor]:
    with torch.no_grad():
        return fit.model.encode(whole_batch(fit).inputs)


def by_loops(fit: Fit, features: dict[str, Tensor]) -> tuple[list[float], float]:
    """The centre and the mean distance from it, over the samples that have each modality."""
    rows = [r for m, f in features.items() for r, has in zip(f.tolist(), fit.train.presence(m), strict=True) if has]
    centre = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    return centre, sum(math.dist(row, centre) for row in rows) / len(rows)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("absent", [False, True])
def test_the_simplex_is_placed_among_the_features(count: int, absent: bool) -> None:
    names = NAMES[:count]
    data = tiny_split(names)
    if absent:
        data = replace(data, present={"video": torch.arange(24) % 3 > 0})
    method = EtfPmr(start=1)
    fit = make_fit(method, names, data=data, **DOUBLE)
    centre, radius = by_loops(fit, features_of(fit))
    e = (prototypes(method) - torch.tensor(centre, dtype=torch.float64)) / radius
    expected = torch.full((3, 3), -0.5, dtype=torch.float64).fill_diagonal_(1)
    torch.testing.assert_close(e @ e.T, expected, rtol=0, atol=1e-5)  # features are read in full, not double precision


def by_hand(method: EtfPmr, f: Tensor, target: list[int]) -> tuple[float, float]:
    """s_m and the loss of one modality."""
    right, costs = [], []
    for row, y in zip(f.tolist(), target, strict=True):
        away = [math.dist(row, v) for v in prototypes(method).tolist()]
        near = [math.exp(-d) for d in away]
        right.append(near[y] / sum(near))
        costs.append(-math.log(right[-1]) if method.form == "cross-entropy" else away[y] ** 2)
    return sum(right) / len(right), sum(costs) / len(costs)


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("form", ["cross-entropy", "distance"])
def test_the_loss_of_a_step(count: int, form: str) -> None:
    names = NAMES[:count]
    method = EtfPmr(alpha=1.5, strong=0.2, form=form, start=1)
    fit = make_fit(method, names, **DOUBLE)
    found = {m: by_hand(method, f, fit.train.target.tolist()) for m, f in features_of(fit).items()}
    step(method)
    logged = fit.meters.means()
    behind = 0
    for m, (score, cost) in found.items():
        others = [s for n, (s, _) in found.items() if n != m]
        behind += score < sum(others) / len(others)
        weight = 1.5 if score < sum(others) / len(others) else 0.3
        assert logged[f"coefficient/{m}"] == pytest.approx(weight, rel=1e-9)
        assert logged[f"loss/prototypes/{m}"] == pytest.approx(weight * cost, rel=1e-9)
    assert 0 < behind < count


@pytest.mark.parametrize("form", ["cross-entropy", "distance"])
def test_the_term_teaches_encoders_alone(form: str) -> None:
    """Its gradient by hand: softmax minus label over unit vectors, or twice the difference."""
    method = EtfPmr(form=form, start=1)
    fit = make_fit(method, fusion="gated", **DOUBLE)
    batch = whole_batch(fit)
    fit.epoch = 1
    outputs = method.forward(batch)
    terms, weights = method.loss(outputs, batch), fit.meters.means()
    for m, f in outputs.features.items():
        apart = f[:, None] - prototypes(method)
        units, label = apart / apart.norm(dim=-1, keepdim=True), torch.eye(3, dtype=torch.float64)[batch.target]
        p = (-apart.norm(dim=-1)).softmax(1)
        slope = 2 * apart[torch.arange(24), batch.target]
        if form == "cross-entropy":
            slope = ((label - p)[..., None] * units).sum(1)
        (mine,) = torch.autograd.grad(terms[f"prototypes/{m}"], f, retain_graph=True)
        torch.testing.assert_close(mine, weights[f"coefficient/{m}"] * slope.detach() / 24, rtol=1e-9, atol=1e-12)
    head = torch.autograd.grad(
        terms["prototypes/audio"] + terms["prototypes/video"], list(fit.model.fusion.parameters()), allow_unused=True
    )
    assert head == (None,) * len(head)


def test_who_is_behind_by_hand() -> None:
    assert shares(torch.tensor([0.4, 0.4]), 0.5).tolist() == [0.5, 0.5]
    assert shares(torch.tensor([0.2, 0.6]), 0.5).tolist() == [1.0, 0.5]
    assert shares(torch.tensor([0.2, 0.6, 0.3]), 0.0).tolist() == [1.0, 0.0, 1.0]
    assert shares(torch.tensor([float("nan"), 0.6]), 0.5).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("start", [2, 4])
def test_before_its_start_it_is_joint_training_and_places_the_simplex_once(start: int) -> None:
    method = EtfPmr(start=start)
    fit, plain = make_fit(method, **DOUBLE), make_fit(Joint(), **DOUBLE)
    for fit.epoch in range(1, start):
        plain.epoch = fit.epoch
        assert method.state_dict() == {}
        step(method)
        assert {k for k in fit.meters.means() if k.startswith("loss/")} == {"loss/fused"}
        method.on_epoch_end(NOTHING)
    centre, radius = by_loops(fit, features_of(fit))
    kept = prototypes(method)
    assert (kept - torch.tensor(centre)).norm(dim=1).tolist() == pytest.approx([radius] * 3, rel=1e-5)
    for fit.epoch in range(start, start + 3):
        step(method)
        method.on_epoch_end(NOTHING)
    assert torch.equal(prototypes(method), kept)
    assert "loss/prototypes/audio" in fit.meters.means()


def test_seeds_turn_the_simplex() -> None:
    one, same, other = EtfPmr(start=1), EtfPmr(start=1), EtfPmr(start=1)
    for method, seed in ((one, 0), (same, 0), (other, 1)):
        make_fit(method, data=tiny_split(), seed=seed)
    assert torch.equal(prototypes(one), prototypes(same))
    assert not torch.allclose(prototypes(one), prototypes(other))
