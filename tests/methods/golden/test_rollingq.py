"""RollingQ: rotations by their properties, and the attention before and after by its formula, sample by sample."""

from dataclasses import replace
from itertools import pairwise, product

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.kinds import fusion_kinds
from mcr_bench.bench.planning.heads import reason_against_head
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, THREE, make_fit, whole_batch
from mcr_bench.bench.testing.trials.epochs import train
from mcr_bench.methods.rollingq import RollingQ
from mcr_bench.methods.terms.attention.rotation import Turn, anchor, imbalance, rotation_between
from mcr_bench.tests.methods.golden.attention_rule import (
    anchor_of,
    head_of,
    imbalances,
    logits_of,
    query_of,
    started,
    values_of,
)

ONE = torch.eye(6, dtype=torch.float64)


def drawn(size: int, seed: int) -> Tensor:
    return torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def rotation_of(method: RollingQ) -> Tensor:
    turn = head_of(method.fit).turn
    assert isinstance(turn, Turn)
    return turn.rotation


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("kind", ["any", "equal", "opposite", "nearly opposite"])
def test_a_rotation_takes_one_direction_to_the_other_and_leaves_the_rest(kind: str, size: int) -> None:
    start = drawn(size, 0)
    end = {"any": drawn(size, 1), "equal": 3 * start, "opposite": -2 * start}.get(kind, 1e-4 * drawn(size, 1) - start)
    found = rotation_between(start, end)
    torch.testing.assert_close(found @ found.T, torch.eye(size, dtype=torch.float64), rtol=0, atol=1e-12)
    assert torch.linalg.det(found).item() == pytest.approx(1.0)
    torch.testing.assert_close(found @ start / start.norm(), end / end.norm(), rtol=0, atol=1e-9)
    if kind != "opposite":
        aside = torch.linalg.svd(torch.stack([start, end]))[2][2:]  # orthogonal to both
        torch.testing.assert_close(aside @ found.T, aside, rtol=0, atol=1e-9)
    if kind == "equal":
        torch.testing.assert_close(found, torch.eye(size, dtype=torch.float64), rtol=0, atol=1e-12)


def test_the_anchor_by_hand() -> None:
    """Of (0, 2) and (5, 0) with tanh(1) = .76159416: alpha = .11920292, so (.88079708, .11920292) / .88882."""
    two = torch.tensor([0.0, 2.0], dtype=torch.float64), torch.tensor([5.0, 0.0], dtype=torch.float64)
    found = anchor(*two, torch.tensor(0.5, dtype=torch.float64), sigma=2.0)
    assert found.tolist() == pytest.approx([0.99096609, 0.13411268], rel=1e-5)
    other = anchor(*two, torch.tensor(-0.5, dtype=torch.float64), sigma=2.0)
    assert other.tolist() == pytest.approx([0.13411268, 0.99096609], rel=1e-5)


def test_the_imbalance_by_hand() -> None:
    query = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    first, second = torch.tensor([[1.0, 0.0], [-2.0, 0.0]]), torch.tensor([[0.0, 2.0], [1.0, 1.0]])
    assert imbalance(query, first, second).tolist() == pytest.approx([0.6 - 0.8, -1 - 2**-0.5])


TASKS = pytest.mark.parametrize("task", [THREE, Task(None), Task(None, labels=3)], ids=["classes", "score", "labels"])


@TASKS
@pytest.mark.parametrize(("sigma", "beta"), [(0.0, 0.0), (40.0, 0.0), (0.0, 2.0)])
def test_an_epoch_turns_the_query_to_the_anchor(sigma: float, beta: float, task: Task) -> None:
    method = RollingQ(sigma=sigma, beta=beta)
    fit = started(method, task)
    values = values_of(fit)
    air = sum(imbalances(fit, ONE, values)) / 24
    query, wanted = query_of(fit, ONE), anchor_of(fit, air, sigma)
    turned = beta < abs(air)
    train(method)
    rotation = rotation_of(method)
    assert torch.equal(rotation, ONE) != turned
    if turned:
        torch.testing.assert_close(rotation @ query / query.norm(), wanted / wanted.norm(), rtol=1e-9, atol=1e-9)
        assert (rotation @ query).norm().item() == pytest.approx(query.norm().item())
        torch.testing.assert_close(rotation @ rotation.T, ONE, rtol=0, atol=1e-10)
    fit.model.eval()
    found = method.predict(fit.model, whole_batch(fit).inputs).logits
    torch.testing.assert_close(found, logits_of(fit, rotation, values), rtol=1e-9, atol=1e-9)


def test_it_turns_as_often_as_it_may() -> None:
    for times in (0, 1, 2):
        method = RollingQ(times=times, sigma=5.0)
        fit = started(method, lr=0.05)
        seen = [ONE]
        for _ in range(3):
            train(method)
            seen.append(rotation_of(method).clone())
        changes = [not torch.equal(a, b) for a, b in pairwise(seen)]
        assert changes == [i < times for i in range(3)]
        assert method.turn.times == times
        assert not [name for name, _ in fit.model.named_parameters() if "turn" in name], "it is not learned"


def test_a_second_turn_starts_from_the_turned_query() -> None:
    method = RollingQ(times=2, sigma=30.0)
    fit = started(method)
    query = query_of(fit, ONE)
    train(method)
    once = rotation_of(method).clone()
    air = sum(imbalances(fit, once, values_of(fit))) / 24
    wanted = anchor_of(fit, air, 30.0)
    train(method)
    found = rotation_of(method) @ query
    torch.testing.assert_close(found / found.norm(), wanted / wanted.norm(), rtol=1e-8, atol=1e-9)


def test_gradients_pass_through_the_rotation() -> None:
    method = RollingQ()
    fit = started(method)
    train(method)
    rotation, batch = rotation_of(method).clone(), whole_batch(fit)
    found = fit.task.loss(method.forward(batch).logits, batch.target)
    expected = fit.task.loss(logits_of(fit, rotation, values_of(fit)), batch.target)
    learned = [p for _, p, owner in fit.model.owned() if owner.role != "own_head"]
    torch.testing.assert_close(*(torch.autograd.grad(x, learned) for x in (found, expected)), rtol=1e-8, atol=1e-11)


def test_samples_without_a_modality_do_not_count() -> None:
    method = RollingQ(sigma=20.0)
    fit = started(method, batch_size=24)
    values = values_of(fit)
    has = torch.arange(24) % 3 != 0
    fit.train.present = {"audio": has}
    every = imbalances(fit, ONE, values)
    air = sum(a for a, kept in zip(every, has, strict=True) if kept) / int(has.sum())
    query, both = query_of(fit, ONE), fit.train
    kept = replace(both, values={"audio": values["audio"][has], "video": values["video"]}, present={})
    fit.train = kept
    wanted = anchor_of(fit, air, 20.0)
    fit.train = both
    train(method)
    found = rotation_of(method) @ query
    torch.testing.assert_close(found / found.norm(), wanted / wanted.norm(), rtol=1e-8, atol=1e-9)


def test_the_rotation_is_a_part_of_the_model() -> None:
    method, again = RollingQ(), RollingQ()
    started(method)
    train(method)
    kept = method.fit.model.state_dict()
    started(again).model.load_state_dict(kept)
    assert torch.equal(rotation_of(again), rotation_of(method))
    assert not torch.equal(rotation_of(again), ONE)
    before = rotation_of(again).clone()
    train(again)
    assert torch.equal(rotation_of(again), before), "it has been turned already"


@pytest.mark.parametrize("head", sorted(fusion_kinds()))
def test_other_heads_are_refused_with_the_reason(head: str) -> None:
    reason = reason_against_head(RollingQ, fusion_kinds()[head])
    if head == "class-token":
        assert reason is None
        return
    assert reason == "turns the query of a class token over all tokens: it needs model.fusion=class-token"


@pytest.mark.parametrize(("head", "count"), product(["late-linear", "gated"], [2, 3]))
def test_other_heads_are_an_error_in_python_too(head: str, count: int) -> None:
    with pytest.raises(UserError, match=r"rollingq turns the query.*model\.fusion=class-token"):
        make_fit(RollingQ(), NAMES[:count], fusion=head)
