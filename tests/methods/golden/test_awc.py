"""AWC: correlations, Shapley values and clusters beside numpy and brute force; Fisher information and what it holds."""

from collections.abc import Sequence
from itertools import combinations, product
from math import factorial

import numpy as np
import pytest
import torch
from torch import Tensor

from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, THREE, make_fit, whole_batch
from mcr_bench.bench.testing.trials.epochs import batches, begin_epoch, end_epoch, make_step
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.awc import Awc, compared, strong_ones, subset_logits
from mcr_bench.methods.joint import Joint
from mcr_bench.methods.terms.comoments import comoments, merged, pearson
from mcr_bench.methods.terms.gradients.fisher import pull_back_stiffly

SGD = {"optimizer__name": "sgd", "optimizer__momentum": 0.0, "optimizer__weight_decay": 0.0, "clip_norm": 0.0}
State = dict[str, Tensor]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("sizes", [(5, 7, 1), (13,), (1, 1, 11)])
def test_correlations_of_batches_are_those_of_all_samples(sizes: tuple[int, ...]) -> None:
    x, y = drawn(3, 13, 2) + 100.0, drawn(13, 2, seed=1)
    parts = zip(x.split(sizes, 1), y.split(sizes, 0), strict=True)
    first, *others = [comoments(*part) for part in parts]
    for other in others:
        first = merged(first, other)
    made = pearson(first)
    for s, c in product(range(3), range(2)):
        assert made[s, c].item() == pytest.approx(np.corrcoef(x[s, :, c], y[:, c])[0, 1], abs=1e-9)


def test_a_prediction_that_is_constant_has_no_correlation() -> None:
    """Nor has one whose deviations are the rounding of its mean, in which chance would correlate."""
    y = torch.arange(40.0)[:, None]
    constant = torch.full((1, 40, 1), 0.1)
    rounded = constant * (1 + torch.finfo(torch.float32).eps * (torch.arange(40) % 2)[None, :, None])
    assert pearson(comoments(constant, y)).tolist() == [[0.0]]
    assert pearson(comoments(rounded, y)).tolist() == [[0.0]]
    assert pearson(comoments(y[None] * 1e-5 + 0.1, y)).item() == pytest.approx(1, abs=1e-3)


def cost(scores: Sequence[float], strong: Sequence[bool]) -> float:
    parts = [[x for x, s in zip(scores, strong, strict=True) if s == side] for side in (True, False)]
    return sum(float(np.var(part) * len(part)) for part in parts)


@pytest.mark.parametrize("seed", range(8))
def test_two_means_beside_all_partitions(seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=2 + seed % 4).tolist()
    mine = strong_ones(scores)
    every = [p for p in product((True, False), repeat=len(scores)) if 0 < sum(p) < len(scores)]
    assert cost(scores, mine) == pytest.approx(min(cost(scores, p) for p in every))
    assert min(x for x, s in zip(scores, mine, strict=True) if s) > max(
        x for x, s in zip(scores, mine, strict=True) if not s
    )


def test_equal_scores_are_in_one_cluster_and_of_equal_ones_none_is_strong() -> None:
    assert strong_ones([0.5, 0.5, 0.5]) == [False] * 3
    assert strong_ones([0.2, 0.7, 0.2]) == [False, True, False]
    assert strong_ones([2.0, 0.0, 1.0]) == [strong_ones([0.0, 1.0, 2.0])[i] for i in (2, 0, 1)]


def shapley(names: tuple[str, ...], worth: dict[frozenset[str], float], m: str) -> float:
    others, total = [n for n in names if n != m], 0.0
    for size in range(len(names)):
        share = factorial(size) * factorial(len(names) - size - 1) / factorial(len(names))
        for s in combinations(others, size):
            total += share * (worth[frozenset((*s, m))] - worth[frozenset(s)])
    return total


def probabilities(task: Task, logits: Tensor) -> Tensor:
    if task.regression:
        return logits
    return torch.softmax(logits, 1) if task.classes else 1 / (1 + torch.exp(-logits))


@pytest.mark.parametrize(
    ("count", "task"),
    [(2, THREE), (3, Task(None)), (4, Task(None, scores=2)), (2, Task(None, labels=3))],
    ids=["classes", "score", "scores", "labels"],
)
def test_shapley_values_of_an_epoch(count: int, task: Task) -> None:
    """At a learning rate of 0 they are those of all samples together, whatever the batches."""
    names = NAMES[:count]
    method = Awc()
    fit = make_fit(method, names, task, dtype=torch.float64, batch_size=10, optimizer__lr=0.0, **SGD)
    for _ in range(2):
        begin_epoch(method)
        shown = fit.meters.means()
        for batch in batches(method):
            make_step(method, batch)
        end_epoch(method)
    batch = whole_batch(fit)
    state, worth = fit.model.state_dict(), {frozenset[str](): 0.0}
    features = {m: fit.model.encode_one(m, batch.inputs.values[m]).detach() for m in names}
    target = batch.target.reshape(24, -1).double() if task.classes is None else torch.eye(3)[batch.target].double()
    for size in range(1, count + 1):
        for s in combinations(names, size):
            z = sum(features[m] @ state[f"fusion.slices.{m}.weight"].T for m in s) + state["fusion.bias"]
            x = probabilities(task, z)
            worth[frozenset(s)] = sum(np.corrcoef(x[:, c], target[:, c])[0, 1] for c in range(x.shape[1]))
    for m in names:
        assert shown[f"shapley/{m}"] == pytest.approx(shapley(names, worth, m), abs=1e-9)


@pytest.mark.parametrize("fusion", ["late-linear", "gated"])
def test_subsets_have_zeros_for_the_features_of_the_others(fusion: str) -> None:
    fit = make_fit(Awc(), NAMES[:2], dtype=torch.float64, fusion=fusion)
    features = {m: drawn(5, 6, seed=i) for i, m in enumerate(NAMES[:2])}
    fit.model.train()
    made = subset_logits(fit.model, features, [frozenset(NAMES[:1]), frozenset(NAMES[:2])])
    assert made.shape == (2, 5, 3)
    zeros = {NAMES[0]: features[NAMES[0]], NAMES[1]: torch.zeros(5, 6, dtype=torch.float64)}
    torch.testing.assert_close(made[0], fit.model.fusion(zeros).logits.detach())
    torch.testing.assert_close(made[1], fit.model.fusion(features).logits.detach())


def test_what_is_compared_of_each_task() -> None:
    x, y = compared(Task(None), torch.tensor([[2.0], [3.0]]), torch.tensor([1.0, 4.0]))
    assert (x.tolist(), y.tolist()) == ([[2.0], [3.0]], [[1.0], [4.0]])
    x, y = compared(Task(None, labels=2), torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    assert (x.tolist(), y.tolist()) == ([[0.5, 0.5]], [[1.0, 0.0]])


def joint_gradients(names: tuple[str, ...], weights: State, batch: Batch, task: Task) -> State:
    fit = make_fit(Joint(), names, task, dtype=torch.float64, **SGD)
    fit.model.load_state_dict(weights)
    fit.task.loss(fit.model(batch.inputs).logits, batch.target).backward()
    return {name: p.grad for name, p in fit.model.named_parameters() if p.grad is not None}


def copied(model: torch.nn.Module) -> State:
    return {name: x.clone() for name, x in model.state_dict().items()}


@pytest.mark.parametrize(("count", "task"), [(2, THREE), (3, Task(None))], ids=["classes", "score"])
def test_gradients_of_the_first_two_epochs(count: int, task: Task) -> None:
    """The first is joint training, whose squared gradients are the Fisher information of the second one's term."""
    names = NAMES[:count]
    method = Awc(strong=7.0, weak=3.0)
    fit = make_fit(method, names, task, dtype=torch.float64, batch_size=8, optimizer__lr=0.1, **SGD)
    squares: dict[str, list[Tensor]] = {}
    start: State = {}
    for _ in range(2):
        begin_epoch(method)
        contributions = fit.meters.means()
        start = copied(fit.model)
        for batch in batches(method):
            wanted = joint_gradients(names, copied(fit.model), batch, task)
            weights = copied(fit.model)
            make_step(method, batch)
            shown = fit.meters.means()
            for name, g in wanted.items():
                room, m = name.split(".")[:2]
                if fit.epoch == 1:
                    squares.setdefault(name, []).append(g**2)
                elif room == "encoders":
                    best = max(contributions[f"shapley/{n}"] for n in names)
                    a = shown[f"coefficient/{m}"]
                    assert a in (7.0, 3.0)
                    assert a == 7.0 or contributions[f"shapley/{m}"] < best
                    g = g + a * torch.stack(squares[name]).mean(0) * (weights[name] - start[name])
                mine = fit.model.get_parameter(name).grad
                torch.testing.assert_close(mine, g, rtol=1e-9, atol=1e-12, msg=f"{name} in epoch {fit.epoch}")
        end_epoch(method)
    moved = max((copied(fit.model)[name] - start[name]).abs().max().item() for name in squares)
    assert moved > 1e-3


def test_stiffness_takes_no_weight_beyond_its_start() -> None:
    """In a plain step with the largest stiffness, 1 / rate, what is left of the way is the gradient's step alone."""
    method = Awc(strong=1e9, weak=1e9)
    fit = make_fit(method, dtype=torch.float64, batch_size=8, optimizer__lr=0.1, **SGD)
    for _ in range(2):
        begin_epoch(method)
        start = copied(fit.model)
        for batch in batches(method):
            gradients = joint_gradients(NAMES[:2], copied(fit.model), batch, THREE)
            make_step(method, batch)
        end_epoch(method)
    name = "encoders.audio.layers.2.bias"
    assert (gradients[name].abs() > 1e-4).any()
    torch.testing.assert_close(copied(fit.model)[name], start[name] - 0.1 * gradients[name])
    weight = torch.nn.Parameter(torch.tensor([5.0, 5.0]))
    pull_back_stiffly([weight], [torch.zeros(2)], [torch.ones(2)], 2.0, [3.0])  # no gradient, so nothing to add to
    assert weight.grad is None


@pytest.mark.parametrize(
    ("share", "epochs", "held"), [(0.4, 10, {2, 3, 4}), (0.0, 10, set()), (1.0, 3, {2, 3}), (0.4, 2, {2})]
)
def test_encoders_are_held_in_the_first_epochs_but_the_very_first(share: float, epochs: int, held: set[int]) -> None:
    method = Awc(share=share)
    fit = make_fit(method, batch_size=12, epochs=epochs)
    acts = set()
    for epoch in range(1, epochs + 1):
        begin_epoch(method)
        for batch in batches(method):
            make_step(method, batch)
        if "coefficient/audio" in fit.meters.means():
            acts.add(epoch)
        end_epoch(method)
    assert acts == held
    state = method.state_dict()
    assert not any(state[name] for name in ("squares", "moments", "steps")), "nothing is kept that nobody needs"


def test_with_adam_and_the_settings_of_the_paper_it_holds_encoders_back() -> None:
    """It trains, and encoders stay nearer to where an epoch began than in joint training."""
    ways = {}
    for name, method in (("awc", Awc(share=1.0)), ("joint", Joint())):
        fit = make_fit(method, NAMES[:3], batch_size=8, optimizer__name="adam", optimizer__lr=0.01)
        for _ in range(4):
            begin_epoch(method)
            start = copied(fit.model)
            for batch in batches(method):
                make_step(method, batch)
            end_epoch(method)
        ways[name] = sum((x - start[k]).norm().item() for k, x in copied(fit.model).items() if k.startswith("encod"))
    assert 0 < ways["awc"] < ways["joint"]
