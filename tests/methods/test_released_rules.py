"""Rules of the released code that are settings here: ties, patience, the schedule of a whole run, what presets say."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.presets import presets_of
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.evaluated import Evaluation
from mcr_bench.bench.runs.events import Job
from mcr_bench.bench.settings.declaration import build
from mcr_bench.bench.testing.fits import make_fit, step
from mcr_bench.bench.training import loop as training
from mcr_bench.bench.training.loop import Training, finished, fit_run, resume, run_epoch, start
from mcr_bench.methods.base import Method
from mcr_bench.methods.joint import Joint
from mcr_bench.methods.ogm import Ogm
from mcr_bench.methods.ogm_ge import OgmGe
from mcr_bench.tests.support.runs.planned import only, planned, save

PAPER = [
    (name, preset)
    for name in registry.dataset_names()
    for preset in presets_of(registry.dataset(name)).values()
    if preset.values.get("schedule.name") == "warm-restarts"
]
NAMES = [f"{name}-{preset.name}" for name, preset in PAPER]


def job(tmp_path: Path, method: str = "joint", **settings: Any) -> Job:
    """One run on 10 training samples in five batches."""
    values = {k.replace("__", "."): [str(v)] for k, v in settings.items()} | {"batch_size": ["2"]}
    spec = only(planned(save(tmp_path / "small.npz"), method, set=values))
    return Job(spec, "cpu", tmp_path / "work", {}, tmp_path / "best.pt")


def scripted(accuracies: list[float], losses: list[float]) -> Iterator[Evaluation]:
    none = torch.zeros(0)
    for accuracy, loss in zip(accuracies, losses, strict=True):
        yield Evaluation(none, {}, {}, None, none, {"accuracy": accuracy, "loss": loss})


def trained(run: Training) -> tuple[int, int]:
    """The best epoch and the number of epochs of a run to its end."""
    while not finished(run):
        run_epoch(run)
    return run.progress.best["epoch"], run.fit.epoch


def released(accuracies: list[float], patience: int) -> tuple[int, int]:
    """Its counter: 0 at a strictly better accuracy, else one more; the end is at patience - 1 or above."""
    best, counter, top = 0, 0, -math.inf
    for epoch, accuracy in enumerate(accuracies, 1):
        counter = 0 if accuracy > top else counter + 1
        if accuracy > top:
            best, top = epoch, accuracy
        if counter >= patience - 1:
            return best, epoch
    return best, len(accuracies)


@pytest.mark.parametrize("patience", [1, 2, 4])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ties_and_patience_of_the_released_code(
    patience: int, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few values, so that ties abound, while the loss falls all the time and would win every one of them."""
    accuracies = np.random.default_rng(seed).integers(0, 4, 30).tolist()
    found = {}
    for ties, start_from in (("first", "best"), ("loss", "after")):
        evaluations = scripted(accuracies, np.linspace(1, 0.1, 30).tolist())
        monkeypatch.setattr(training, "validate", lambda _, script=evaluations: next(script))
        monkeypatch.setattr(training, "train_epoch", lambda _: None)
        settings = {"epochs": 30, "patience": patience, "ties": ties, "patience_from": start_from}
        found[ties] = trained(start(job(tmp_path, **settings)))
    assert found["first"] == released(accuracies, patience)
    assert found["loss"] != found["first"]


def test_the_default_waits_all_of_the_patience_after_the_best_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluations = scripted([1, 3, 2, 3, 2, 2, 2, 2], [1.0, 0.9, 0.1, 0.8, 0.7, 0.6, 0.5, 0.4])
    monkeypatch.setattr(training, "validate", lambda _: next(evaluations))
    monkeypatch.setattr(training, "train_epoch", lambda _: None)
    assert trained(start(job(tmp_path, epochs=8, patience=3))) == (4, 7)


class Killed(BaseException):
    """Stands for kill -9."""


@pytest.mark.parametrize(("warmup", "first", "factor"), [(7, 4, 2), (3, 2, 3)])
def test_a_run_and_its_resumption_use_the_rates_of_the_released_scheduler(
    warmup: int, first: int, factor: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's scheduler is told the number of finished steps, once the constant phase has ended."""
    rates: dict[int, float] = {}
    train_step = Method.train_step

    def noting(method: Method, batch: Any) -> None:
        if method.fit.step == 13 and 13 not in rates:
            rates[13] = math.nan
            raise Killed
        rates[method.fit.step] = method.fit.optimizer.param_groups[0]["lr"]
        train_step(method, batch)

    monkeypatch.setattr(Method, "train_step", noting)
    settings = {"schedule__name": "warm-restarts", "schedule__warmup": warmup, "optimizer__lr": 0.01}
    run = job(tmp_path, epochs=5, patience=0, schedule__first=first, schedule__factor=factor, **settings)
    with pytest.raises(Killed):
        fit_run(run, lambda _: None, checkpoint_seconds=0)
    known = dict(rates)
    fit_run(run, lambda _: None, checkpoint_seconds=0)
    assert sorted(rates) == list(range(1, 26))
    assert all(rates[k] == known[k] for k in (11, 12))  # steps taken twice
    scheduler = CosineAnnealingWarmRestarts(torch.optim.SGD([torch.ones(1)], lr=0.01), T_0=first, T_mult=factor)
    for k in range(1, 26):
        scheduler.optimizer.step()
        expected = scheduler.get_last_lr()[0] if k > warmup else 0.01
        assert rates[k] == pytest.approx(expected, abs=1e-12), k
        scheduler.step(k)


def test_a_kept_checkpoint_does_not_count_the_best_epoch_twice(tmp_path: Path) -> None:
    """A run that stopped by patience has nothing left to do when it is taken up again."""
    run = job(tmp_path, epochs=40, patience=2, patience_from="best", optimizer__lr=0)
    fit_run(run, lambda _: None, checkpoint_seconds=0)
    again = start(run)
    resume(again, run)
    assert finished(again)
    assert again.fit.epoch == 2


@pytest.mark.parametrize(("name", "preset"), PAPER, ids=NAMES)
def test_presets_of_the_paper_follow_its_code(name: str, preset: Any) -> None:
    values = preset.values
    assert (values["schedule.first"], values["schedule.factor"]) == (4, 2)
    longer = {("ave", "paper-transformers"): 1500, ("something-something", "paper"): 31655}
    warmup = values.get("mcr.schedule.warmup", values["schedule.warmup"])
    assert warmup == longer.get((name, preset.name), 780)
    assert (values["ties"], values["patience_from"]) == ("first", "best")
    assert values.get("optimizer.eps", 1e-7) == (1e-8 if values.get("optimizer.name") == "adamw" else 1e-7)
    assert values.get("ogm.all_parameters", False) is ("ogm.alpha" in values)
    assert values.get("mcr.positives", "scores") == "scores"


def test_every_paper_set_has_such_a_preset() -> None:
    assert {name for name, _ in PAPER} == {"ave", "cremad", "mosei", "mosi", "something-something", "ucf101"}
    assert len(PAPER) == 12


def gradients(method: Method) -> dict[str, torch.Tensor]:
    fit = make_fit(method, dtype=torch.float64)
    step(method)
    return {n: p.grad for n, p in fit.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("cls", [Ogm, OgmGe])
def test_all_parameters_scales_biases_of_the_encoder_that_is_ahead(cls: type[Ogm]) -> None:
    plain, some, whole = (gradients(m) for m in (Joint(), Ogm(alpha=0.4), _quiet(cls)))
    ratios = {n: (whole[n] / g).flatten() for n, g in plain.items() if n.startswith("encoders.") and g.any()}
    for m in ("audio", "video"):
        mine = torch.cat([r[r.isfinite()] for n, r in ratios.items() if n.startswith(f"encoders.{m}.")])
        torch.testing.assert_close(mine, mine[:1].expand_as(mine))
    biases = [n for n in plain if n.startswith("encoders.") and n.endswith("bias")]
    assert any(not torch.equal(whole[n], plain[n]) for n in biases)
    assert all(torch.equal(some[n], plain[n]) for n in biases)
    assert all(torch.equal(whole[n], plain[n]) for n in plain if n.startswith("fusion."))


def _quiet(cls: type[Ogm]) -> Method:
    noise = {"noise": 0.0} if cls is OgmGe else {}
    return build(cls, {"alpha": 0.4, "all_parameters": True, **noise})


def test_two_choices_of_parameters_exclude_each_other() -> None:
    with pytest.raises(UserError, match=r"ogm\.conv_only and ogm\.all_parameters cannot both be true"):
        build(Ogm, {"conv_only": True, "all_parameters": True})
