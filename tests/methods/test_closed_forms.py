"""Gradients in closed form against autograd on plain definitions: the game, the divergence, the contrastive term."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from mcr_bench.methods.terms.distances import Distance, divergence_slopes, squared_slopes
from mcr_bench.methods.terms.features.contrastive import nt_xent
from mcr_bench.methods.terms.games.additive_game import Rules, game
from mcr_bench.methods.terms.games.game import jensen_shannon
from mcr_bench.tests.support.runs.operations import Operations

DISTANCES = {"classes": (divergence_slopes, 4), "scores": (squared_slopes, 1)}


def draw(*shape: int, seed: int = 0, size: float = 1.0, dtype: torch.dtype = torch.float64) -> Tensor:
    return size * torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def plain_distance(q: Tensor, z: Tensor) -> Tensor:
    """JS in nats by its definition, or the mean squared difference of one output."""
    if q.shape[-1] == 1:
        return ((q - z) ** 2).mean()
    p, r = q.softmax(-1), z.softmax(-1)
    m = (p + r) / 2
    return 0.5 * ((p * (p.log() - m.log())).sum(-1) + (r * (r.log() - m.log())).sum(-1)).mean()


def slowed(x: Tensor, factor: float) -> Tensor:
    """x, whose gradient is times the factor."""
    return factor * x + (1 - factor) * x.detach()


def plain_game(
    rules: Rules, bias: Tensor, intact: Tensor, present: Tensor, orders: Tensor
) -> tuple[Tensor, list[float]]:
    """One coalition after the other, with autograd."""
    total, values = torch.zeros((), dtype=intact.dtype), []
    shift = bias if rules.bias_learns else bias.detach()
    for members in rules.coalitions:
        outputs = shift
        reference = shift
        for m in range(len(intact)):
            inside = m in members
            beside = slowed(present[m], rules.others)
            outputs = outputs + (present[m][orders[m]] if inside else beside)
            factor = 0.0 if rules.reference is None else 1.0 if inside else rules.reference
            reference = reference + slowed(intact[m], factor)
        distance = plain_distance(outputs, reference if rules.reference is not None else reference.detach())
        total = total + distance
        values.append(distance.item())
    return total, values


@pytest.mark.parametrize("kind", DISTANCES)
@pytest.mark.parametrize("count", [2, 3, 4, 5])
@pytest.mark.parametrize("others", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("reference", [None, -1.0, 1.0])
@pytest.mark.parametrize("apart", [False, True], ids=["one pass", "second pass"])
def test_the_game_has_the_gradients_of_autograd(
    kind: str, count: int, others: float, reference: float | None, apart: bool
) -> None:
    distance, outputs = DISTANCES[kind]
    coalitions = [s for n in range(1, count) for s in itertools.combinations(range(count), n)][:11]
    rules = Rules(coalitions, others, reference, reference == 1.0, distance)
    orders = draw(count, 3, 6, seed=2).argsort(-1)
    start = [draw(outputs, seed=3), draw(count, 6, outputs, seed=4), draw(count, 6, outputs, seed=5)]
    found = []
    for play in ("ours", "plain"):
        bias, intact, present = (x.clone().requires_grad_() for x in start)
        if play == "ours":
            total, values = game(rules, bias, intact, present if apart else None, None, orders)
        else:
            total, values = plain_game(rules, bias, intact, present if apart else intact, orders)
        (3 * total).backward()
        leaves = [intact, *([present] if apart else []), *([bias] if rules.bias_learns else [])]
        found.append((torch.as_tensor(values, dtype=torch.float64), [x.grad for x in leaves]))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-10, atol=1e-14)
    for mine, other in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-13)


@pytest.mark.parametrize("kind", DISTANCES)
def test_given_copies_get_their_gradient(kind: str) -> None:
    """With k = 1 and every gradient on, the total is a plain function of all its arguments."""
    distance, outputs = DISTANCES[kind]
    rules = Rules([(0,), (2,), (0, 1)], 1.0, 1.0, True, distance)
    arguments = [
        draw(outputs),
        draw(3, 4, outputs, seed=1),
        draw(3, 4, outputs, seed=2),
        draw(3, 2, 4, outputs, seed=3),
    ]
    leaves = tuple(x.requires_grad_() for x in arguments)
    assert torch.autograd.gradcheck(lambda b, i, p, c: game(rules, b, i, p, c, None)[0], leaves)


def test_saturated_logits_have_a_finite_game() -> None:
    rules = Rules([(0,), (1,)], -1.0, None, False, divergence_slopes)
    for size in (50.0, 1e4, 1e20):
        branches = draw(2, 5, 3, size=size, dtype=torch.float32).requires_grad_()
        total, values = game(rules, None, branches, None, None, draw(2, 4, 5, seed=1).argsort(-1))
        total.backward()
        assert values.isfinite().all()
        assert (values <= 2 * math.log(2)).all()
        assert branches.grad is not None
        assert branches.grad.isfinite().all()


def test_under_autocast_the_game_and_the_contrastive_term_are_those_of_full_precision() -> None:
    rules = Rules([(0,), (1,)], -1.0, None, False, divergence_slopes)
    orders, labels = draw(2, 8, 16, seed=1).argsort(-1), torch.arange(16) % 3
    half = draw(2, 16, 5).bfloat16()
    found = []
    for autocast, values in ((True, half), (False, half.float())):
        leaf = values.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            total, _ = game(rules, None, leaf, None, None, orders)
            loss = total + nt_xent({"a": leaf[0], "b": leaf[1]}, labels, 0.5)
        loss.backward()
        assert loss.dtype == torch.float32
        assert leaf.grad is not None
        found.append((loss.detach(), leaf.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][1].dtype == torch.bfloat16
    torch.testing.assert_close(found[0][1].float(), found[1][1], rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("shapes", [((3, 2, 4), (2, 4)), ((2, 4), (2, 4)), ((2, 1, 4), (3, 1, 2, 4)), ((4,), (4,))])
def test_divergence_of_any_shapes(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    q, z = (draw(*shape, seed=i).requires_grad_() for i, shape in enumerate(shapes))
    assert jensen_shannon(q, z).item() == pytest.approx(plain_distance(q, z).item(), abs=1e-14)
    assert torch.autograd.gradcheck(jensen_shannon, (q, z))


@pytest.mark.parametrize("temperature", [0.5, 0.05, 0.002])
@pytest.mark.parametrize("labels", [[0, 1, 0, 2], [5, 5, 5, 5], [0, 1, 2, 3]])
def test_gradient_of_the_contrastive_term(labels: list[int], temperature: float) -> None:
    first, second = (draw(4, 3, seed=i).requires_grad_() for i in range(2))

    def term(a: Tensor, b: Tensor) -> Tensor:
        return nt_xent({"a": a, "b": b}, torch.tensor(labels), temperature)

    assert torch.autograd.gradcheck(term, (first, second), eps=1e-7, atol=1e-4 / temperature, rtol=1e-4)
    vectors = torch.nn.functional.normalize(torch.cat([first, second]), dim=1)
    scores, same = vectors @ vectors.T / temperature, torch.tensor(labels * 2)[:, None] == torch.tensor(labels * 2)
    costs = [
        torch.logaddexp(scores[a, p], scores[a][~same[a]].logsumexp(0)) - scores[a, p]
        for a, p in itertools.permutations(range(8), 2)
        if same[a, p] and not same[a].all()
    ]
    pairs = int(same.sum()) - 8
    assert term(first, second).item() == pytest.approx(sum(costs, torch.zeros(())).item() / pairs, rel=1e-9, abs=1e-12)


def test_the_contrastive_term_of_many_samples_holds_no_square_of_them() -> None:
    """Two modalities of 800 samples: 2.6 million pairs, of which a million at most are held at once."""
    labels = torch.arange(800) % 7
    leaves = [draw(800, 4, seed=i, dtype=torch.float32).requires_grad_() for i in range(2)]
    with Operations() as operations:
        nt_xent(dict(zip("ab", leaves, strict=True)), labels, 0.5).backward()
    assert operations.largest <= 2**20
    whole = nt_xent(dict(zip("ab", (x.detach().double() for x in leaves), strict=True)), labels, 0.5)
    assert whole.item() == pytest.approx(loop([x.detach().double() for x in leaves], labels), rel=1e-10)


def loop(features: list[Tensor], labels: Tensor) -> float:
    """The term at temperature 0.5, anchor by anchor."""
    vectors = torch.nn.functional.normalize(torch.cat(features).detach(), dim=1)
    every, total, pairs = labels.repeat(len(features)), 0.0, 0
    for a, vector in enumerate(vectors):
        scores, same = vectors @ vector / 0.5, every == every[a]
        rest = scores[~same].logsumexp(0)
        same[a] = False
        total += (torch.logaddexp(scores[same], rest) - scores[same]).sum().item()
        pairs += int(same.sum())
    return total / pairs


@pytest.mark.parametrize("distance", [divergence_slopes, squared_slopes])
def test_many_coalitions_of_large_batches_are_played_in_groups(distance: Distance) -> None:
    """Fourteen coalitions of 32 x 64 rows of 300 outputs: 8.6 million elements, of which 4 million are held at once."""
    coalitions = [s for n in range(1, 4) for s in itertools.combinations(range(4), n)]
    orders = draw(4, 32, 64, seed=1).argsort(-1)
    branches = draw(4, 64, 300, dtype=torch.float32).requires_grad_()
    with Operations() as operations:
        total, values = game(Rules(coalitions, -1.0, None, False, distance), None, branches, None, None, orders)
        total.backward()
    assert operations.largest <= 2**22
    gradients, singles = torch.zeros_like(branches), []
    for coalition in coalitions:
        leaf = branches.detach().clone().requires_grad_()
        one, _ = game(Rules([coalition], -1.0, None, False, distance), None, leaf, None, None, orders)
        one.backward()
        assert leaf.grad is not None
        gradients += leaf.grad
        singles.append(one.detach())
    torch.testing.assert_close(values, torch.stack(singles), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(branches.grad, gradients, rtol=1e-4, atol=1e-8)
