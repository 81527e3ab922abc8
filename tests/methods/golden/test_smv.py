"""SMV: values by plain loops over orders of arrival, copies by tables, epochs and their loss sample by sample."""

from collections import Counter

import pytest
import torch

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, tiny_split
from mcr_bench.bench.testing.trials.epochs import batches
from mcr_bench.bench.testing.trials.setups import Setup
from mcr_bench.methods.base import EpochBatches
from mcr_bench.methods.joint import Joint
from mcr_bench.methods.smv import Smv, copies_of, shares_again
from mcr_bench.tests.methods.golden.valuation import epoch_gradient, plain_values

TASKS = {"classes": Task(3), "labels": Task(None, labels=3), "score": Task(None), "scores": Task(None, scores=2)}
DOUBLE = {"dtype": torch.float64}


def prepared(method: Smv, count: int = 2, task: Task = TASKS["classes"], n: int = 24, seed: int = 0) -> Fit:
    names = NAMES[:count]
    fit = make_fit(method, names, task, data=tiny_split(names, task, n=n, seed=seed), seed=seed, **DOUBLE)
    fit.epoch, fit.step = 9, 30
    return fit


def entries(found: EpochBatches) -> list[tuple[int, str]]:
    """The epoch as (sample, modality that is kept alone); '' where all are kept."""
    made = []
    for place, sample in enumerate(found.order.tolist()):
        kept = [m for m, flags in found.dropped.items() if not flags[place]]
        made.append((sample, kept[0] if len(kept) == 1 else ""))
        assert len(kept) in (1, len(found.dropped))
    return made


def table(value: float) -> int:
    """The copies that the code gives a sample, as its branches are written."""
    if 0.4 < value < 1 - 1e-9:
        return 1
    if -0.1 < value <= 0.4:
        return 2
    return 3 if value <= -0.1 else 0


def test_copies_by_the_table() -> None:
    for value in (1.5, 1.0, 0.9, 0.5, 0.41, 0.4, 0.39, 0.0, -0.09, -0.1, -0.11, -0.5, -2.0):
        assert copies_of(torch.tensor([value], dtype=torch.float64)).tolist() == [table(value)], value


def test_shares_by_hand() -> None:
    # gaps .3 and .8: 2/3 * .5 for the second one
    assert shares_again(torch.tensor([0.7, 0.2]), 1.0).tolist() == pytest.approx([0, 1 / 3])
    # gaps .1, .4, .7; means of the others .55, .4, .25
    assert shares_again(torch.tensor([0.9, 0.6, 0.3]), 0.5).tolist() == pytest.approx([0, 0, 0.15])
    assert shares_again(torch.tensor([0.4, 0.4]), 2.0).tolist() == [0, 0]


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize(("count", "seed"), [(2, 0), (3, 1), (4, 2)])
def test_values_are_means_over_orders_of_arrival(count: int, seed: int, task: Task) -> None:
    method = Smv()
    fit = prepared(method, count, task, n=8, seed=seed)
    found = method.values(torch.arange(8))
    for row, (m, expected) in zip(found, plain_values(fit).items(), strict=True):
        assert row.tolist() == pytest.approx(expected, abs=1e-9), m
    assert fit.meters.means()[f"value/{NAMES[0]}"] == pytest.approx(found[0].mean().item())


def test_two_modalities_have_the_values_of_the_paper() -> None:
    """phi_a = (v_a + v_av - v_v) / 2, which is one of -.5, 0, .5, 1, 1.5."""
    method = Smv()
    prepared(method, n=60, seed=3)
    found = method.values(torch.arange(60))
    assert {*found.flatten().tolist()} <= {-0.5, 0.0, 0.5, 1.0, 1.5}
    assert {*found.sum(0).tolist()} == {0.0, 2.0}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize("count", [2, 3])
def test_an_epoch_has_every_sample_once_and_its_copies(count: int, task: Task) -> None:
    method = Smv()
    fit = prepared(method, count, task)
    expected = Counter((i, "") for i in range(24))
    for m, values in plain_values(fit).items():
        expected.update({(i, m): table(v) for i, v in enumerate(values) if table(v)})
    found = method.epoch_batches(9)
    assert found is not None
    made = entries(found)
    assert Counter(made) == expected
    assert len(made) > 30
    assert made[:24] != sorted(made)[:24], "they are mixed"
    assert fit.meters.means()[f"coefficient/{NAMES[1]}"] == pytest.approx(
        sum(n for (_, m), n in expected.items() if m == NAMES[1]) / 24
    )


def test_the_loss_of_a_step_is_that_of_zeros_in_place_of_what_is_dropped() -> None:
    method = Smv()
    fit = prepared(method, 3)
    plain = make_fit(Joint(), NAMES[:3], **DOUBLE)
    found = method.epoch_batches(9)
    assert found is not None
    size, made = fit.settings.batch_size, entries(found)
    for place, batch in enumerate(batches(method)):
        fit.zero_grad()
        method.backward(method.loss(method.forward(batch), batch))
        for name, g in epoch_gradient(plain, made[place * size : (place + 1) * size]).items():
            torch.testing.assert_close(fit.model.get_parameter(name).grad, g, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("count", "seed"), [(2, 0), (3, 4)])
def test_the_weak_modality_comes_again(count: int, seed: int) -> None:
    """All samples are valued, so that the means are those of all."""
    method = Smv(level="modality", share=1.0, alpha=1.4)
    fit = prepared(method, count, n=60, seed=seed)
    gaps = {m: 1 - sum(values) / 60 for m, values in plain_values(fit).items()}
    expected = {}
    for m, gap in gaps.items():
        others = [g for n, g in gaps.items() if n != m]
        expected[m] = int(60 * 1.4 * 2 / 3 * max(0.0, gap - sum(others) / len(others)) + 1e-9)
    assert any(expected.values())
    found = method.epoch_batches(9)
    assert found is not None
    made = Counter(entries(found))
    assert {m: sum(k for (_, n), k in made.items() if n == m) for m in gaps} == expected
    assert max(made.values()) == 1, "each once"


def test_as_many_samples_are_valued_as_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for share, number in ((0.2, 12), (0.05, 3), (0.001, 1)):
        method = Smv(level="modality", share=share)
        prepared(method, n=60)
        seen = []
        monkeypatch.setattr(method, "values", lambda order, seen=seen: seen.append(order) or torch.zeros(2, 1))
        method.epoch_batches(9)
        assert len(seen[0].unique()) == len(seen[0]) == number


def test_nothing_is_chosen_in_the_warm_up() -> None:
    for warmup in (5, 2):
        method = Smv(warmup=warmup)
        fit = prepared(method)
        for epoch in (1, warmup, warmup + 1):
            fit.epoch = epoch
            assert (method.epoch_batches(epoch) is None) == (epoch <= warmup)


@pytest.mark.parametrize("level", ["sample", "modality"])
def test_a_sample_does_not_come_again_with_what_it_lacks(level: str) -> None:
    method = Smv(level=level, alpha=20.0, share=1.0)
    part = Setup(NAMES[:3], partly=True, dtype=torch.float64).part(NAMES[:3])
    fit = make_fit(method, NAMES[:3], data=part, **DOUBLE)
    fit.epoch = 9
    lacking = [(m, i) for m, has in part.present.items() for i in (~has).nonzero()[:, 0].tolist()]
    assert lacking
    values = method.values(torch.arange(24))
    for m, i in lacking:
        assert values[NAMES.index(m), i].item() == pytest.approx(0, abs=1e-12)
    found = method.epoch_batches(9)
    assert found is not None
    made = {*entries(found)}
    assert not {(i, m) for m, i in lacking} & made
    assert any(m for _, m in made)


@pytest.mark.parametrize("fusion", ["gated", "film"])
def test_other_heads_get_zeros_too(fusion: str) -> None:
    method = Smv()
    fit = make_fit(method, fusion=fusion, **DOUBLE)
    fit.model.eval()
    features = fit.model.encode(fit.train.batch(torch.arange(24)).inputs)
    right = {}
    for kept in (("audio",), ("video",), ("audio", "video")):
        zeroed = {m: f if m in kept else f * 0 for m, f in features.items()}
        right[kept] = (fit.model.fuse(zeroed).logits.argmax(1) == fit.train.target).double() * len(kept)
    expected = (right[("audio",)] + right[("audio", "video")] - right[("video",)]) / 2
    assert torch.equal(method.values(torch.arange(24))[0], expected)


def test_the_model_is_as_it_was() -> None:
    method = Smv()
    fit = prepared(method)
    before = {k: v.clone() for k, v in fit.model.state_dict().items()}
    fit.model.train()
    method.epoch_batches(9)
    assert fit.model.training
    assert all(torch.equal(v, before[k]) for k, v in fit.model.state_dict().items())
