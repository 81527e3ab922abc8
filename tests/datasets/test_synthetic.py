"""The synthetic data: dials, named draws, and Bayes accuracy against closed forms and brute force."""

import math
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mcr_bench.bench.catalog.presets import presets_of
from mcr_bench.bench.catalog.registry import dataset, dataset_names
from mcr_bench.bench.catalog.resolve import resolve_dataset
from mcr_bench.bench.core.seeds import generator, seeded
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.settings.declaration import build, declared
from mcr_bench.datasets.base import Splits
from mcr_bench.datasets.synthetic import Synthetic

SMALL = {"train": 60, "val": 20, "test": 40, "dimension": 8, "classes": 3}


def make(**dials: object) -> Synthetic:
    return build(Synthetic, {**SMALL, **dials}, location=Path("unused"))


def load(data: Synthetic, seed: int = 0, modalities: tuple[str, ...] | None = None) -> Splits:
    return data.load("paper", 1, seed, modalities or data.names)


def test_is_registered_with_facts() -> None:
    assert "synthetic" in dataset_names()
    assert dataset("synthetic") is Synthetic
    facts = make(modalities=3, unique="0.2/0.1/0.1", dimension="8/9/10").facts()
    assert {m: f.shape for m, f in facts.modalities.items()} == {"m1": (8,), "m2": (9,), "m3": (10,)}
    assert facts.task.classes == len(facts.class_names) == 3


def test_sizes_and_notes() -> None:
    parts = load(make())
    assert [len(p) for p in (parts.train, parts.val, parts.test)] == [60, 20, 40]
    assert set(parts.notes) == {"bayes_accuracy", "bayes_accuracy_stderr"}
    assert not {*parts.train.ids} & {*parts.test.ids}


def test_same_seed_same_data_other_seed_other_data() -> None:
    first, again, other = load(make()), load(make()), load(make(), seed=1)
    assert torch.equal(first.train.values["m1"], again.train.values["m1"])
    assert torch.equal(first.test.target, again.test.target)
    assert not torch.equal(first.train.values["m1"], other.train.values["m1"])
    assert not torch.equal(first.train.values["m1"], first.train.values["m2"])


@pytest.mark.parametrize("nonlinear", [False, True])
def test_another_modality_shifts_nobodys_draws(nonlinear: bool) -> None:
    two = load(make(shared=0.4, synergy=0.2, nonlinear=nonlinear))
    three = load(make(shared=0.4, synergy=0.2, nonlinear=nonlinear, modalities=3, unique="0.2/0.2/0"))
    for m in ("m1", "m2"):
        assert torch.equal(two.train.values[m], three.train.values[m])
    assert torch.equal(two.test.target, three.test.target)


def test_a_subset_of_modalities_has_the_same_values_and_its_own_bayes_accuracy() -> None:
    data = make(shared=0.2, unique="0.7/0.1", amplitude=4)
    both, one = load(data), load(data, modalities=("m2",))
    assert list(one.train.values) == ["m2"]
    assert torch.equal(both.train.values["m2"], one.train.values["m2"])
    assert one.notes["bayes_accuracy"] < both.notes["bayes_accuracy"] - 0.1
    with pytest.raises(UserError, match="unknown modality 'm3'"):
        load(data, modalities=("m1", "m3"))


def test_training_statistics_standardise_every_part() -> None:
    parts = load(make())
    x = parts.train.values["m1"]
    assert torch.allclose(x.mean(0), torch.zeros(8), atol=1e-5)
    assert torch.allclose(x.std(0, correction=0), torch.ones(8), atol=1e-5)
    assert not torch.allclose(parts.test.values["m1"].mean(0), torch.zeros(8), atol=1e-3)


@pytest.mark.parametrize(
    ("dials", "accuracy"),
    [
        ({"amplitude": 0}, 1 / 3),
        ({"amplitude": 60, "shared": 1, "unique": "0"}, 1.0),
        ({"amplitude": 60, "shared": 0, "unique": "0", "synergy": 1}, 1.0),
        ({"amplitude": "60/0", "shared": 0, "unique": "0", "synergy": 1}, 1 / 3),
        ({"amplitude": 60, "modalities": 3, "shared": 0, "unique": "0.2/0.3/0.5"}, 1.0),
    ],
)
def test_bayes_accuracy_at_the_extremes(dials: dict[str, object], accuracy: float) -> None:
    assert load(make(**dials)).notes["bayes_accuracy"] == pytest.approx(accuracy, abs=1e-4)


def test_bayes_accuracy_of_two_classes_in_closed_form() -> None:
    """One informative modality, two classes: Phi(half the distance of the means)."""
    data = make(classes=2, shared=0, unique="1/0", amplitude=1.5, test=4000)
    means = data.prototypes(3, "m1")
    notes = load(data, seed=3).notes
    expected = NormalDist().cdf((means[0] - means[1]).norm().item() / 2)
    assert notes["bayes_accuracy"] == pytest.approx(expected, abs=4 * notes["bayes_accuracy_stderr"])
    assert 0 < notes["bayes_accuracy_stderr"] < 0.01


@pytest.mark.parametrize(("modalities", "amplitude"), [(2, "2.5"), (3, "3"), (4, "4/3.5/3/5")])
def test_bayes_accuracy_of_a_product_of_signs_in_closed_form(modalities: int, amplitude: str) -> None:
    """Each sign is right with probability Phi(d / 2), and the product if an even number of signs is wrong."""
    dials = {"classes": 2, "shared": 0, "unique": "0", "synergy": 1, "test": 4000, "dimension": 20}
    data = make(modalities=modalities, together=modalities, amplitude=amplitude, **dials)
    gaps = []
    for m in data.names:
        means = data.prototypes(5, m)
        gaps.append(2 * NormalDist().cdf((means[0] - means[1]).norm().item() / 2) - 1)
    notes = load(data, seed=5).notes
    assert notes["bayes_accuracy"] == pytest.approx((1 + math.prod(gaps)) / 2, abs=4 * notes["bayes_accuracy_stderr"])
    assert notes["bayes_accuracy"] > 0.8
    for left_out in data.names:
        others = tuple(m for m in data.names if m != left_out)
        assert load(data, seed=5, modalities=others).notes["bayes_accuracy"] == 0.5


def test_a_synergistic_sum_needs_as_many_modalities_as_the_dial_says() -> None:
    dials = {"modalities": 4, "together": 3, "shared": 0, "unique": "0", "synergy": 1, "amplitude": 60}
    data = make(**dials)
    assert load(data, modalities=("m1", "m2", "m3")).notes["bayes_accuracy"] == pytest.approx(1, abs=1e-6)
    assert load(data, modalities=("m1", "m2", "m4")).notes["bayes_accuracy"] == pytest.approx(1 / 3, abs=1e-6)


def test_posterior_with_several_means_and_three_together_against_densities_summed_by_hand() -> None:
    data = make(
        **{"classes": 2, "modalities": 3, "together": 3, "synergy": 0.4, "shared": 0.3, "unique": "0.1"},
        **{"clusters": "1/2/3", "amplitude": "2/3/4", "dimension": "2/3/2", "test": 6},
    )
    means = {m: data.prototypes(1, m).double() for m in data.names}
    assert {m: len(p) for m, p in means.items()} == {"m1": 2, "m2": 4, "m3": 6}
    drawn = data.draw(1, "test", {m: p.float() for m, p in means.items()})

    def density(m: str, row: int, carried: int | None) -> float:
        """The mean of the densities of the class's own means, up to a factor that all classes share."""
        own = (
            torch.zeros(1, means[m].shape[1])
            if carried is None
            else means[m].reshape(2, -1, means[m].shape[1])[carried]
        )
        squares = (drawn.latent[m][row].double() - own).square().sum(1)
        return (-squares / 2).exp().mean().item()

    result = data.posterior(drawn, means)
    for row in range(6):
        joint = []
        for c in range(2):
            carried = [(0.3, (c, c, c)), (0.1, (c, None, None)), (0.1, (None, c, None)), (0.1, (None, None, c))]
            carried += [(0.4 / 4, (a, b, (c - a - b) % 2)) for a in range(2) for b in range(2)]
            joint.append(
                sum(
                    share * math.prod(density(m, row, k) for m, k in zip(data.names, ks, strict=True))
                    for share, ks in carried
                )
            )
        assert torch.allclose(result[row], torch.tensor(joint, dtype=torch.float64) / sum(joint), atol=1e-6)


def test_new_dials_change_no_key_where_they_have_no_effect() -> None:
    def acting(**dials: object) -> set[str]:
        data = make(**dials)
        return set(data.acting({name: getattr(data, name) for name in declared(Synthetic)}))

    assert not {"together", "clusters"} & acting()
    assert not {"together", "clusters"} & acting(modalities=3, together=3, clusters="1/1/1", unique="0.2/0.2/0")
    assert acting(clusters="1/2") - acting() == {"clusters"}
    more = acting(modalities=3, together=3, synergy=0.4, unique="0")
    assert more - acting() == {"together"}


SETS = ("xor", "redundant", "unique-dominant")


def preset(name: str) -> Synthetic:
    return build(Synthetic, resolve_dataset(presets_of(Synthetic)[name].values, Synthetic), location=Path("unused"))


@pytest.mark.parametrize("name", SETS)
def test_the_set_of_a_preset_is_the_same_with_sgd(name: str) -> None:
    adam, sgd = (dict(presets_of(Synthetic)[n].values) for n in (name, f"{name}-sgd"))
    assert sgd.pop("optimizer.name") == "sgd"
    assert {k: v for k, v in adam.items() if k != "optimizer.lr"} == {
        k: v for k, v in sgd.items() if k != "optimizer.lr"
    }


@pytest.mark.parametrize("name", SETS)
def test_bayes_accuracy_of_the_presets_by_monte_carlo(name: str) -> None:
    """Fresh samples, made and classified with NumPy alone, by the definition of each set."""
    data, draw = preset(name), np.random.default_rng(1)
    means = {
        m: data.prototypes(0, m).double().numpy().reshape(data.classes, -1, data.prototypes(0, m).shape[1])
        for m in data.names
    }
    y = draw.integers(data.classes, size=20_000)
    first = draw.integers(data.classes, size=len(y))
    carried = [first, (y - first) % 2] if name == "xor" else [y, y]
    logs = []
    for mean, k in zip(means.values(), carried, strict=True):
        x = mean[k, draw.integers(mean.shape[1], size=len(y))]
        x = x + draw.normal(size=x.shape)
        each = x @ mean.reshape(-1, mean.shape[2]).T - (mean.reshape(-1, mean.shape[2]) ** 2).sum(1) / 2
        logs.append(np.log(np.exp(each - each.max(1, keepdims=True)).reshape(len(y), data.classes, -1).sum(2)))
    if name == "xor":
        odds = [x[:, 1] - x[:, 0] for x in logs]
        chosen = {"m1": 0 * y, "m2": 0 * y, "": (odds[0] * odds[1] < 0).astype(int)}
    else:
        chosen = {"m1": logs[0].argmax(1), "m2": logs[1].argmax(1), "": (logs[0] + logs[1]).argmax(1)}
    for m, guess in chosen.items():
        notes = load(data, modalities=(m,) if m else None).notes
        spread = 4 * math.hypot(notes["bayes_accuracy_stderr"], 0.5 / math.sqrt(len(y)))
        assert notes["bayes_accuracy"] == pytest.approx((guess == y).mean(), abs=spread), m


def test_posterior_against_densities_summed_by_hand() -> None:
    fractions = {"shared": 0.3, "m1": 0.25, "m2": 0.15, "synergy": 0.3}
    data = make(shared=0.3, unique="0.25/0.15", synergy=0.3, latent=2, test=5)
    means = {m: data.prototypes(0, m).double() for m in data.names}
    drawn = data.draw(0, "test", {m: p.float() for m, p in means.items()})

    def density(m: str, row: int, carried: int | None) -> float:
        centre = torch.zeros(2, dtype=torch.float64) if carried is None else means[m][carried]
        return math.exp(-(drawn.latent[m][row].double() - centre).square().sum().item() / 2)

    result = data.posterior(drawn, means)
    for row in range(5):
        joint = []
        for c in range(3):
            both = density("m1", row, c) * density("m2", row, c)
            only = [density("m1", row, c) * density("m2", row, None), density("m1", row, None) * density("m2", row, c)]
            pairs = [
                density("m1", row, a) * density("m2", row, b) for a in range(3) for b in range(3) if (a + b) % 3 == c
            ]
            mixed = fractions["shared"] * both + fractions["m1"] * only[0] + fractions["m2"] * only[1]
            joint.append(mixed + fractions["synergy"] * sum(pairs) / 3)
        expected = torch.tensor(joint, dtype=torch.float64) / sum(joint)
        assert torch.allclose(result[row], expected, atol=1e-6)


def test_fractions_are_what_the_dials_say() -> None:
    data = make(shared=0.3, unique="0.4/0.1", synergy=0.2, amplitude=100, test=20_000)
    drawn = data.draw(0, "test", {m: data.prototypes(0, m) for m in data.names})
    carries = {m: x.norm(dim=1) > 50 for m, x in drawn.latent.items()}
    assert (carries["m1"] & carries["m2"]).float().mean().item() == pytest.approx(0.5, abs=0.015)
    assert (carries["m1"] & ~carries["m2"]).float().mean().item() == pytest.approx(0.4, abs=0.015)
    assert (~carries["m1"] & carries["m2"]).float().mean().item() == pytest.approx(0.1, abs=0.015)


def test_maps_lose_nothing() -> None:
    """Orthonormal columns: distances of the latents are those of the vectors."""
    data = make(dimension=12, latent=5)
    drawn = data.draw(0, "test", {m: data.prototypes(0, m) for m in data.names})
    for m, x in data.mapped(0, drawn).items():
        assert x.shape == (40, 12)
        assert torch.allclose(torch.cdist(x, x), torch.cdist(drawn.latent[m], drawn.latent[m]), atol=1e-2)
    bent = make(dimension=12, latent=5, nonlinear=True).mapped(0, drawn)
    assert not torch.allclose(torch.cdist(bent["m1"], bent["m1"]), torch.cdist(x, x), atol=0.1)


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        ({"shared": 0.9}, r"sum to 1\.3"),
        ({"unique": "0.2,0.2"}, "unique=0.2,0.2: not allowed"),
        ({"unique": "0.1/0.1/0.2"}, "or 2 numbers separated by '/'"),
        ({"unique": "-0.1/0.5"}, "not allowed"),
        ({"amplitude": "loud"}, "amplitude=loud"),
        ({"dimension": "7.5"}, "dimension=7.5"),
        ({"dimension": 8, "latent": 9}, "whole numbers >= 9"),
        ({"modalities": 1}, ">= 2"),
        ({"shared": 1.5}, "<= 1"),
        ({"together": 3}, r"together=3: not allowed with modalities=2"),
        ({"clusters": "1/1.5"}, "clusters=1/1.5: not allowed. Give whole numbers >= 1"),
        ({"clusters": "0"}, "clusters=0: not allowed"),
    ],
)
def test_impossible_dials_are_refused(dials: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(**dials).facts()


@pytest.mark.parametrize("dials", [{}, {"classes": 7, "train": 70, "shared": 0.3, "unique": "0.3/0.1", "synergy": 0.3}])
def test_labels_are_those_of_the_samples(dials: dict[str, object]) -> None:
    data = make(**dials)
    parts = data.load("paper", 1, 4, tuple(data.facts().modalities))
    labels = data.labels("paper", 1, 4)
    assert {p: labels[p].tolist() for p in labels} == {
        p: getattr(parts, p).target.tolist() for p in ("train", "val", "test")
    }


@pytest.mark.parametrize(("modality", "accuracy"), [("m1", 0.71), ("m2", 0.48)])
def test_small_networks_reach_the_specified_orientation_points(modality: str, accuracy: float) -> None:
    """Two-layer networks of width 100, the epoch selected on validation, at U1 = .45 and S = .45."""
    data = build(Synthetic, {"shared": 0.45, "unique": "0.45/0.1"}, location=Path("unused"))
    parts = data.load("paper", 1, 0, (modality,))
    with seeded(0, "init"):
        network = nn.Sequential(nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 5))
    optimizer = torch.optim.Adam(network.parameters(), weight_decay=1e-3)
    draws, reached = generator(0, "batches"), []
    for _ in range(15):
        for index in torch.randperm(len(parts.train), generator=draws).split(64):
            optimizer.zero_grad()
            F.cross_entropy(network(parts.train.values[modality][index]), parts.train.target[index]).backward()
            optimizer.step()
        right = [network(p.values[modality]).argmax(1) == p.target for p in (parts.val, parts.test)]
        reached.append(tuple(r.float().mean().item() for r in right))
    assert max(reached)[1] == pytest.approx(accuracy, abs=0.04)
