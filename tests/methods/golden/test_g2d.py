"""G2D: the distances to teachers, who is held back when, and what that leaves still."""

import pytest
import torch
from torch.nn import functional

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, THREE, make_fit, whole_batch
from mcr_bench.bench.testing.trials.epochs import train
from mcr_bench.methods.g2d import G2d, of_rank
from mcr_bench.methods.terms.boosting.turns import rank_of_turn
from mcr_bench.methods.terms.distillation.divergence import output_distance
from mcr_bench.tests.methods.golden.teachers import Noisy, taught, unimodal_runs


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_distance_of_outputs(temperature: float) -> None:
    student, teacher = drawn(4, 3), drawn(4, 3, seed=1)
    found = output_distance(student, teacher, THREE, temperature)
    p, q = (teacher / temperature).softmax(1), (student / temperature).softmax(1)
    torch.testing.assert_close(found, temperature**2 * (p * (p / q).log()).sum(1))
    found = output_distance(student, teacher, Task(None, labels=3), temperature)
    p, q = (teacher / temperature).sigmoid(), (student / temperature).sigmoid()
    each = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    torch.testing.assert_close(found, temperature**2 * each.mean(1))
    found = output_distance(student, teacher, Task(None, scores=3), temperature)
    torch.testing.assert_close(found, ((student - teacher) ** 2).mean(1))


def test_phases_of_equal_length_then_all() -> None:
    assert [rank_of_turn(e, length=3, modalities=2) for e in range(1, 6)] == [0, 0, 0, None, None]
    assert [rank_of_turn(e, length=6, modalities=4) for e in range(1, 8)] == [0, 0, 1, 1, 2, 2, None]
    assert rank_of_turn(1, length=0, modalities=3) is None


def test_ranks_and_ties() -> None:
    scores = torch.tensor([0.5, 0.1, 0.9])
    assert [of_rank(scores, rank).tolist() for rank in range(3)] == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert of_rank(torch.tensor([0.5, 0.5]), 0).tolist() == [1, 1]
    lacking = torch.tensor([torch.nan, 0.5, 0.2])
    assert [of_rank(lacking, rank).tolist() for rank in range(2)] == [[0, 0, 1], [0, 1, 0]]


@pytest.mark.parametrize("task", [THREE, Task(None, scores=2)], ids=["classes", "scores"])
@pytest.mark.parametrize("count", [2, 3])
def test_loss_and_gradient_where_all_learn(count: int, task: Task) -> None:
    names, method = NAMES[:count], G2d(logit_weight=2.0, feature_weight=0.5, temperature=3.0, share=0.0)
    runs = unimodal_runs(names, task)
    fit = make_fit(method, names, task, dtype=torch.float64, dependencies=runs)
    fit.epoch, batch = 1, whole_batch(fit)
    fit.model.train()
    found = sum(method.loss(method.forward(batch), batch).values())
    features, logits = taught(fit.model, runs, names, batch.inputs.values)
    mine = fit.model.encode(batch.inputs)
    z = sum(fit.model.own_heads[m](mine[m]) for m in names) / count
    expected = task.loss(z, batch.target)
    for m in names:
        if task.regression:
            apart = functional.mse_loss(z, logits[m])
        else:
            apart = 9.0 * functional.kl_div(
                (z / 3).log_softmax(1), (logits[m] / 3).log_softmax(1), log_target=True, reduction="batchmean"
            )
        expected = expected + 2.0 * apart + 0.5 * functional.mse_loss(mine[m], features[m])
    learned = [p for _, p, owner in fit.model.owned() if owner.role in ("encoder", "own_head")]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)
    gradients = [torch.autograd.grad(x, learned, retain_graph=True) for x in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3])
def test_the_weakest_learns_first_and_an_encoder_that_is_held_back_does_not_move(count: int) -> None:
    names, method = NAMES[:count], G2d()
    runs = unimodal_runs(names)
    fit = make_fit(method, names, dtype=torch.float64, dependencies=runs, epochs=8, optimizer__weight_decay=0.1)
    _, logits = taught(fit.model, runs, names, whole_batch(fit).inputs.values)
    right = {m: z.softmax(1)[torch.arange(24), fit.train.target].mean().item() for m, z in logits.items()}
    order = sorted(names, key=lambda m: right[m])
    assert method.ranking == order
    expected = [[order[0]]] * 4 if count == 2 else [[order[0]]] * 2 + [[order[1]]] * 2
    for learning in [*expected, list(names)]:
        before = {name: p.detach().clone() for name, p in fit.model.named_parameters()}
        train(method)
        moved = {o.modality for n, p, o in fit.model.owned() if o.role == "encoder" and not torch.equal(p, before[n])}
        assert moved == set(learning)
        assert all(p.requires_grad for p in fit.model.parameters())


def test_the_prediction_is_the_mean_of_the_own_heads() -> None:
    names = NAMES[:3]
    method = G2d()
    fit = make_fit(method, names, dtype=torch.float64, dependencies=unimodal_runs(names))
    fit.model.eval()
    inputs = whole_batch(fit).inputs
    own = fit.model(inputs).own_logits
    torch.testing.assert_close(method.predict(fit.model, inputs).logits, sum(own[m] for m in names) / 3)
    fused = G2d(logits="fusion")
    make_fit(fused, names, dtype=torch.float64, dependencies=unimodal_runs(names))
    torch.testing.assert_close(fused.predict(fit.model, inputs).logits, fit.model(inputs).logits)


@pytest.mark.parametrize("on_disk", [True, False])
def test_all_steps_of_an_epoch_have_the_same_passes(on_disk: bool) -> None:
    """What is made once, and the ranking, is made before the first step, as a resumed run makes it again."""
    counted: list[int] = []

    def prepare(fit: Fit) -> None:
        fit.model.watchers.append(lambda made: counted.append(len(made)))
        if on_disk:
            fit.train.values = {m: Noisy(x) for m, x in fit.train.values.items() if isinstance(x, torch.Tensor)}

    runs = unimodal_runs(NAMES[:3])
    fit = make_fit(method := G2d(), NAMES[:3], dtype=torch.float64, dependencies=runs, prepare=prepare)
    assert sum(counted) == 3 * 24
    steps = []
    for _ in range(3):
        counted.clear()
        method.train_step(fit.train.training_batch(torch.arange(8)))
        steps.append(sum(counted))
    assert steps == [steps[0]] * 3
    assert (steps[0] > 0) == on_disk


def test_teachers_encode_what_is_on_disk_once_per_step() -> None:
    runs = unimodal_runs(NAMES[:2])
    counted: list[int] = []

    def prepare(fit: Fit) -> None:
        fit.train.values = {m: Noisy(x) for m, x in fit.train.values.items() if isinstance(x, torch.Tensor)}
        fit.model.watchers.append(lambda made: counted.append(len(made)))

    fit = make_fit(method := G2d(), NAMES[:2], dtype=torch.float64, dependencies=runs, prepare=prepare)
    counted.clear()
    method.loss(method.forward(fit.train.training_batch(torch.arange(8))), fit.train.training_batch(torch.arange(8)))
    assert len(counted) == 2  # those of the student are counted by hooks of the model


def test_the_released_rule_is_refused_where_it_would_hold_nothing_back() -> None:
    with pytest.raises(UserError, match=r"g2d\.variant=official.*the encoder of 'audio' has none"):
        make_fit(G2d(variant="official"), NAMES[:2], dependencies=unimodal_runs(NAMES[:2], dtype=torch.float32))
    make_fit(G2d(variant="official", share=0.0), NAMES[:2], dependencies=unimodal_runs(NAMES[:2], dtype=torch.float32))
