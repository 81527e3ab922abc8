"""Data that says what is true of each modality alone: own heads learn it, and metrics of modalities compare with it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.problem.absent import completed
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import make_fit, step, tiny_split, whole_batch
from mcr_bench.bench.training.evaluation import evaluate
from mcr_bench.bench.training.probes import FeatureStore, Probes
from mcr_bench.datasets.base import Split, Splits, Truth
from mcr_bench.methods.base import Method
from mcr_bench.methods.terms.scores import squared_errors, true_scores

SCORE = Task(None)
TWO = ("audio", "video")
USES = [name for name in registry.method_names() if registry.method(name).needs.own_heads]


def truthful(task: Task = SCORE) -> Split:
    """A part whose video shows another score than the sample's: its negative."""
    split = tiny_split(TWO, task)
    return replace(split, own={"video": Truth(-split.target)})


def own_losses_of(method: Method, data: Split) -> dict[str, float]:
    """The terms of the loss that are those of own heads, from the same weights and batch."""
    fit = make_fit(method, TWO, SCORE, data=data)
    fit.epoch = 1
    method.on_epoch_start()
    batch = whole_batch(fit)
    losses = method.loss(method.forward(batch), batch)
    return {name: float(loss.detach()) for name, loss in losses.items()}


def test_own_heads_learn_what_is_true_of_their_modality_and_the_others_the_target() -> None:
    plain, told = (
        own_losses_of(registry.method("multi-loss")(), data) for data in (tiny_split(TWO, SCORE), truthful())
    )
    assert told["fused"] == plain["fused"]
    assert told["own/audio"] == plain["own/audio"]
    assert told["own/video"] != plain["own/video"]


@pytest.mark.parametrize("name", USES)
def test_every_method_that_trains_own_heads_on_scores_uses_it(name: str) -> None:
    cls = registry.method(name)
    if cls.needs.unmet(2, SCORE) or name in ("unimodal", "ensemble", "lfm"):
        pytest.skip("takes no scores, one modality, or no labels for its own heads")
    weights = []
    for data in (tiny_split(TWO, SCORE), truthful()):
        method = cls()
        if method.requires(TWO):
            pytest.skip("starts from other runs")
        make_fit(method, TWO, SCORE, data=data)
        step(method)
        weights.append(method.fit.model.own_heads["video"].weight.detach().clone())
    assert not torch.equal(*weights)


def outputs_of(data: Split, probes: bool) -> tuple[dict[str, float], dict[str, Tensor]]:
    method = registry.method("joint" if probes else "multi-loss")()
    fit = make_fit(method, TWO, SCORE, data=data)
    heads = Probes(fit.model, fit.device) if probes else None
    made = evaluate(method, fit.model, data, heads, len(data))
    return made.metrics, made.modality_logits


@pytest.mark.parametrize("probes", [False, True])
def test_metrics_of_a_modality_compare_it_with_its_own_truth(probes: bool) -> None:
    data = truthful()
    metrics, logits = outputs_of(data, probes)
    for m, truth in (("audio", data.target), ("video", -data.target)):
        assert metrics[f"modality/{m}/mae"] == pytest.approx(float((logits[m][:, 0] - truth).abs().mean()))
    if not probes:
        alone = metrics["modality/audio/mae"] + metrics["modality/video/mae"]
        assert metrics["total_loss"] == pytest.approx(metrics["loss"] + alone, rel=1e-5)


def test_probe_heads_are_fitted_to_it() -> None:
    fit = make_fit(registry.method("joint")(), TWO, SCORE, data=truthful())
    store, batch = FeatureStore(fit.model), whole_batch(fit)
    store.expect(batch.target, batch.inputs.present, batch.own)
    fit.model(batch.inputs)
    stored = store.take()
    assert torch.equal(stored["audio"][1], batch.target)
    assert torch.equal(stored["video"][1], -batch.target)


def test_it_is_learned_in_the_unit_of_the_target_and_not_where_one_modality_is_all() -> None:
    split = truthful()
    task = Task(None, "standard").fitted(split.labels)
    learned = split.learned(task)
    assert torch.equal(learned.own["video"].target, task.learned(-split.target))
    assert torch.equal(learned.labels_of("video"), -split.target.double())
    assert torch.equal(learned.target_of("audio"), learned.target)
    alone = replace(split, values={"video": split.values["video"]})
    assert not alone.learned(task).own
    assert not alone.learned(Task(3)).own


def test_it_follows_its_samples() -> None:
    split = truthful()
    index = torch.tensor([3, 1])
    batch = split.batch(index)
    assert torch.equal(batch.target_of("video"), -split.target[index])
    assert torch.equal(batch.target_of("audio"), split.target[index])
    lacked = torch.arange(len(split)) != 2
    partly = replace(split, present=dict.fromkeys(TWO, lacked))
    train = completed(Splits(partly, partly, partly)).train
    assert torch.equal(train.own["video"].labels, -split.target[lacked])
    assert torch.equal(split.to(torch.device("cpu")).own["video"].target, -split.target)


def test_scores_of_modalities_are_those_of_their_own_truth() -> None:
    logits = {"audio": torch.tensor([[1.0]]), "video": torch.tensor([[1.0]])}
    own = {"video": torch.tensor([3.0])}
    assert squared_errors(logits, torch.tensor([2.0]), own=own).tolist() == [1.0, 4.0]
    classes = {m: torch.tensor([[9.0, 0.0]]) for m in TWO}
    right = true_scores(classes, torch.tensor([0]), Task(2), own={"video": torch.tensor([1])})
    assert right[0] > 0.9 > 0.1 > right[1]
