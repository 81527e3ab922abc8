"""BSS: as released, difficulty is measured in training mode; in the variant of the paper as the model predicts."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.testing.fits import NAMES, make_fit, tiny_split
from mcr_bench.bench.testing.trials.epochs import batches
from mcr_bench.bench.testing.trials.setups import NORMED
from mcr_bench.datasets.base import Split
from mcr_bench.methods.bss import Bss

N, SIZE = 52, 8  # the last batch has four samples


def spread(count: int) -> Split:
    """Samples whose spread grows, so that a batch has other statistics than the running ones."""
    names = NAMES[:count]
    data = tiny_split(names, n=N, seed=3)
    data.values = {m: x * (0.2 + torch.arange(N)[:, None] / 20) + i for i, (m, x) in enumerate(data.values.items())}
    return data


def ready(method: Bss, count: int) -> Fit:
    fit = make_fit(
        method, NAMES[:count], data=spread(count), encoder=NORMED, batch_size=SIZE, seed=1, dtype=torch.float64
    )
    fit.epoch = 12
    return fit


@torch.no_grad()
def plain_features(fit: Fit, of_batches: bool) -> dict[str, Tensor]:
    """Features (N, d) with batch norm by hand, by the statistics of batches, or by the initial running ones."""
    features = {}
    for m, x in fit.train.values.items():
        linear, norm, _ = fit.model.encoders[m].layers
        rows = []
        for part in (x @ linear.weight.T + linear.bias).split(SIZE):
            mean, var = (part.mean(0), part.var(0, correction=0)) if of_batches else (0.0, torch.ones(1))
            rows.append(((part - mean) / (var + norm.eps).sqrt() * norm.weight + norm.bias).relu())
        features[m] = torch.cat(rows)
    return features


@torch.no_grad()
def plain_choice(fit: Fit, of_batches: bool) -> list[int]:
    """The samples of epoch 12: those with the smallest difficulty."""
    y, features = fit.train.target, plain_features(fit, of_batches)
    heads = {m: fit.model.own_heads[m](f).log_softmax(1) for m, f in features.items()}
    z = sum(f @ fit.model.fusion.slices[m].weight.T for m, f in features.items()) + fit.model.fusion.bias
    picked = [one.gather(1, y[:, None])[:, 0] for one in (z.log_softmax(1), *heads.values())]
    losses = -0.1 * picked[0] - 0.9 * sum(picked[1:])
    p = [one.exp() for one in heads.values()]
    pairs = [torch.cosine_similarity(a, b) for i, a in enumerate(p) for b in p[i + 1 :]]
    apart = 1 - torch.stack(pairs).mean(0)
    scaled = [(v - v.min()) / (v.max() - v.min()) for v in (apart, losses)]
    number = int(N * math.sqrt(0.01 + 0.99 * 12 / 40))
    return np.argsort(sum(scaled).numpy(), kind="stable")[:number].tolist()


def expected(count: int, of_batches: bool) -> tuple[list[int], dict[str, Tensor]]:
    """The samples in the order of training, and the gradient of the first step."""
    fit = ready(Bss(), count)
    chosen = plain_choice(fit, of_batches)
    order = [i for i in fit.order().tolist() if i in chosen]
    batch = fit.train.batch(torch.tensor(order[:SIZE]))
    outputs = fit.model.train()(batch.inputs)
    loss = 0.1 * fit.task.loss(outputs.logits, batch.target)
    for h in outputs.own_logits.values():
        loss = loss + 0.9 * fit.task.loss(h, batch.target)
    loss.backward()
    return order, {n: p.grad for n, p in fit.model.named_parameters() if p.grad is not None}


def found(method: Bss, count: int) -> tuple[list[int], dict[str, Tensor]]:
    fit = ready(method, count)
    fit.model.train()
    made = batches(method)
    method.backward(method.loss(method.forward(made[0]), made[0]))
    order = [i for batch in made for i in batch.index.tolist()]
    return order, {n: p.grad for n, p in fit.model.named_parameters() if p.grad is not None}


def require_rule(method: Bss, count: int, of_batches: bool) -> None:
    torch.testing.assert_close(found(method, count), expected(count, of_batches), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3])
def test_official_is_the_released_rule_and_paper_is_another(count: int) -> None:
    require_rule(Bss(variant="official"), count, of_batches=True)
    require_rule(Bss(variant="paper"), count, of_batches=False)
    (_, mine), (_, theirs) = found(Bss(variant="paper"), count), expected(count, of_batches=True)
    apart = sum((mine[name] - g).norm() ** 2 for name, g in theirs.items())
    assert apart > (1e-3) ** 2 * sum(g.norm() ** 2 for g in theirs.values())


class InTrainingMode(Bss):
    """The defect in the rule of the paper."""

    @property
    def official(self) -> bool:
        return True


def test_the_defect_in_the_rule_of_the_paper_is_seen() -> None:
    with pytest.raises(AssertionError):
        require_rule(InTrainingMode(), 2, of_batches=False)


@pytest.mark.parametrize("sequence", ["heuristic", "self-paced"])
def test_only_the_released_rule_changes_running_statistics(sequence: str) -> None:
    for variant, changed in (("paper", False), ("official", True)):
        method = Bss(variant=variant, sequence=sequence)
        fit = ready(method, 2)
        fit.model.train()
        before = fit.model.encoders["audio"].layers[1].running_mean.clone()
        method.epoch_batches(12)
        assert torch.equal(fit.model.encoders["audio"].layers[1].running_mean, before) != changed
        assert fit.model.training
