"""Diagnosing & Re-learning: k-means against all partitions, purity and moves back by hand, epochs that act."""

import itertools
import math
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit
from mcr_bench.bench.testing.trials.epochs import train as train_epochs
from mcr_bench.bench.testing.trials.epochs import validated
from mcr_bench.bench.testing.trials.setups import NORMED
from mcr_bench.datasets.base import Split
from mcr_bench.methods.diagnosing_relearning import DiagnosingRelearning
from mcr_bench.methods.joint import Joint
from mcr_bench.methods.terms.features.clusters import between_minus_one_and_one, kmeans, purity, separability, way_back

SGD = {"optimizer__name": "sgd", "optimizer__lr": 0.05, "dtype": torch.float64}


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def inertia(rows: Tensor, clusters: Tensor) -> float:
    parts = [rows[clusters == k] for k in clusters.unique()]
    return sum(float((part - part.mean(0)).square().sum()) for part in parts)


@pytest.mark.parametrize(("size", "count", "seed"), [(7, 3, 0), (8, 2, 1), (6, 4, 2)])
def test_k_means_finds_the_best_of_all_partitions(size: int, count: int, seed: int) -> None:
    rows = drawn(size, 2, seed=seed) + 3.0 * (torch.arange(size) % count)[:, None]
    best = min(inertia(rows, torch.tensor(one)) for one in itertools.product(range(count), repeat=size))
    clusters = kmeans(rows, count, torch.Generator().manual_seed(seed))
    assert inertia(rows, clusters) == pytest.approx(best, rel=1e-9)


def test_k_means_of_fewer_different_rows_than_clusters() -> None:
    rows = torch.tensor([[1.0, 2.0], [1.0, 2.0], [4.0, 2.0]])
    clusters = kmeans(rows, 5, torch.Generator().manual_seed(3))
    assert clusters[0] == clusters[1] != clusters[2]


def test_purity_and_scaling_by_hand() -> None:
    # clusters {3, 3, 1}, {1, 0}, {2}: 2 + 1 + 1 of 6 samples
    clusters, classes = torch.tensor([4, 4, 4, 0, 0, 1]), torch.tensor([3, 3, 1, 1, 0, 2])
    assert purity(clusters, classes).item() == pytest.approx(4 / 6)
    scaled = between_minus_one_and_one(torch.tensor([[2.0, 5.0, 1.0], [6.0, 5.0, -1.0], [3.0, 5.0, 0.0]]))
    assert scaled.tolist() == [[-1, -1, 1], [1, -1, -1], [-0.5, -1, 0]]


def test_every_column_counts_alike() -> None:
    """Four small columns tell the classes; unscaled, the large one would decide."""
    number = torch.arange(12)
    rows = torch.cat([(number % 2 * 1e-3)[:, None].expand(-1, 4), (number // 2 * 10.0)[:, None]], 1)
    assert separability(rows, number % 2, 2, torch.Generator().manual_seed(0)) == 1
    assert purity(kmeans(rows, 2, torch.Generator().manual_seed(0)), number % 2) < 1


@pytest.mark.parametrize(("train", "val", "strength"), [(0.9, 0.5, 3.0), (0.3, 0.6, 5.0), (0.4, 0.4, 3.0)])
def test_the_share_of_the_way_back(train: float, val: float, strength: float) -> None:
    share = way_back(torch.tensor(train), torch.tensor(val), strength)
    assert share.item() == pytest.approx(math.tanh(strength * abs(train - val)))


def plain_purity(features: Tensor, target: Tensor) -> float:
    """The purity of the best of many runs of SciPy's k-means on columns scaled with NumPy."""
    x, y = features.numpy(), target.numpy()
    low, high = x.min(0), x.max(0)
    x = 2 * (x - low) / np.where(high > low, high - low, 1) - 1
    runs = [kmeans2(x, 3, minit="++", seed=seed, iter=50) for seed in range(15)]
    _, clusters = min(runs, key=lambda run: float(((x - run[0][run[1]]) ** 2).sum()))
    return sum(np.bincount(y[clusters == k]).max() for k in np.unique(clusters)) / len(y)


def features_of(fit: Fit, part: str) -> dict[str, Tensor]:
    fit.model.eval()
    split = getattr(fit, part)
    with torch.no_grad():
        return fit.model.encode(split.batch(torch.arange(len(split))).inputs)


def clustered(names: tuple[str, ...], wrong: int, seed: int) -> Split:
    """Samples in three clusters far apart, `wrong` of which have the label of another one."""
    number = torch.arange(24) % 3
    target = torch.where(torch.arange(24) < wrong, (number + 1) % 3, number)
    values = {m: 4 * drawn(3, 5, seed=i)[number] + 0.1 * drawn(24, 5, seed=10 * i + seed) for i, m in enumerate(names)}
    return Split(values, target, [f"s{i}" for i in range(24)])


def with_other_validation(fit: Fit) -> None:
    fit.val = clustered(tuple(fit.model.modalities), wrong=7, seed=2)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_encoders_move_back_by_what_two_k_means_say(count: int) -> None:
    names = NAMES[:count]
    joint, method = Joint(), DiagnosingRelearning(strength=2.0, every=1)
    plain = make_fit(joint, names, data=clustered(names, 2, seed=1), prepare=with_other_validation, **SGD)
    start = {k: v.clone() for k, v in plain.model.state_dict().items()}
    train_epochs(joint)
    trained, tested = features_of(plain, "train"), features_of(plain, "val")
    gaps = {m: plain_purity(trained[m], plain.train.target) - plain_purity(tested[m], plain.val.target) for m in names}
    assert any(gaps.values())
    moved = make_fit(
        method, names, data=clustered(names, 2, seed=1), prepare=with_other_validation, **SGD
    ).model.state_dict()
    train_epochs(method)
    for key, value in plain.model.state_dict().items():
        room, m = key.split(".")[:2]
        a = math.tanh(2.0 * abs(gaps[m])) if room == "encoders" else 0.0
        torch.testing.assert_close(moved[key], a * start[key] + (1 - a) * value, rtol=1e-9, atol=1e-12)


def acting_epochs(method: DiagnosingRelearning, epochs: int) -> list[int]:
    """The epochs whose end moves an encoder."""
    fit, acted = make_fit(method, data=clustered(NAMES[:2], 2, seed=1), prepare=with_other_validation, **SGD), []
    for _ in range(epochs):
        before = [p.detach().clone() for p in fit.model.parameters_of("audio", "encoder")]
        seen: list[bool] = []

        def after_steps(hook: str, before: list[Tensor] = before, seen: list[bool] = seen) -> nullcontext[None]:
            if hook == "on_epoch_end":
                before[:] = [p.detach().clone() for p in fit.model.parameters_of("audio", "encoder")]
                seen.append(True)
            return nullcontext()

        train_epochs(method, around=after_steps)
        now = fit.model.parameters_of("audio", "encoder")
        if seen and any(not torch.equal(a, b) for a, b in zip(before, now, strict=True)):
            acted.append(fit.epoch)
    return acted


def test_it_acts_every_few_epochs_and_so_many_times() -> None:
    assert acting_epochs(DiagnosingRelearning(every=2, times=2), 7) == [2, 4]
    assert acting_epochs(DiagnosingRelearning(every=3), 6) == [3, 6]
    assert acting_epochs(DiagnosingRelearning(every=1, times=0), 2) == []


def test_statistics_of_batch_norm_and_momentum_stay() -> None:
    method = DiagnosingRelearning(every=1, strength=5.0)
    fit = make_fit(method, encoder=NORMED, prepare=with_other_validation, optimizer__momentum=0.9, **SGD)
    kept: list[dict[str, Tensor]] = []

    def now() -> dict[str, Tensor]:
        statistics = {name: buffer.clone() for name, buffer in fit.model.named_buffers()}
        momenta = fit.optimizer.state_dict()["state"]
        return statistics | {str(k): v["momentum_buffer"].clone() for k, v in momenta.items()}

    def note(hook: str) -> nullcontext[None]:
        if hook == "on_epoch_end":
            kept.append(now())
        return nullcontext()

    train_epochs(method, around=note)
    assert kept[0].keys() == now().keys()
    assert all(torch.equal(value, kept[0][name]) for name, value in now().items())


def test_samples_without_a_modality_do_not_count() -> None:
    method = DiagnosingRelearning(every=1)

    def absent(fit: Fit) -> None:
        with_other_validation(fit)
        has = torch.arange(24) % 2 == 0
        spoilt = torch.where(has[:, None], fit.train.values["audio"], 1e4)
        fit.train = replace(fit.train, values={**fit.train.values, "audio": spoilt}, present={"audio": has})
        fit.val = replace(fit.val, present={"video": torch.zeros(24, dtype=torch.bool)})

    fit = make_fit(method, data=clustered(NAMES[:2], 2, seed=1), prepare=absent, **SGD)
    fit.model.eval()
    purities = method.purities(validated(method))
    assert purities.keys() == {"audio"}, "no sample of the validation part has the other one"
    has = fit.train.present["audio"]
    expected = plain_purity(features_of(fit, "train")["audio"][has], fit.train.target[has])
    assert purities["audio"][0].item() == pytest.approx(expected)


def test_it_is_for_classes() -> None:
    for task in (Task(None), Task(None, labels=3)):
        assert "classification" in (DiagnosingRelearning.needs.unmet(2, task) or "")
