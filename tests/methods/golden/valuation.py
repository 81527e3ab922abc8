"""Values of modalities by plain loops: the mean over all orders of arrival of what a modality adds to a prediction."""

from itertools import permutations

import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.testing.fits import whole_batch


@torch.no_grad()
def logits_from(fit: Fit, kept: tuple[str, ...]) -> Tensor:
    """The logits (N, C) of a linear head for all training samples, as if it had no slices but those of `kept`."""
    fit.model.eval()
    features = fit.model.encode(whole_batch(fit).inputs)
    shares = [features[m] @ fit.model.fusion.slices[m].weight.T for m in kept]
    fit.model.train()
    return sum(shares, torch.zeros(1)) + fit.model.fusion.bias.expand(len(fit.train), -1)


def gains(fit: Fit, kept: tuple[str, ...]) -> list[float]:
    """What the prediction from these modalities is worth for each sample."""
    z, y = logits_from(fit, kept), fit.train.target
    if fit.task.regression:
        nothing = (logits_from(fit, ()).reshape(y.shape) - y).abs().reshape(len(y), -1).mean(1)
        error = (z.reshape(y.shape) - y).abs().reshape(len(y), -1).mean(1)
        return [float(len(fit.model.modalities) * gained / nothing.mean()) for gained in nothing - error]
    if fit.task.multi_label:
        right = [
            sum(float((v > 0) == (t > 0)) for v, t in zip(*pair, strict=True)) / 3 for pair in zip(z, y, strict=True)
        ]
    else:
        right = [float(int(v.argmax()) == int(t)) for v, t in zip(z, y, strict=True)]
    return [len(kept) * one for one in right]


def plain_values(fit: Fit) -> dict[str, list[float]]:
    """Modality -> its value for each training sample."""
    names = list(fit.model.modalities)
    orders = list(permutations(names))
    subsets = {frozenset(kept) for order in orders for kept in (order[:n] for n in range(len(names) + 1))}
    worth = {subset: gains(fit, tuple(m for m in names if m in subset)) for subset in subsets}
    values = {m: [0.0] * len(fit.train) for m in names}
    for order in orders:
        for place, m in enumerate(order):
            before, after = worth[frozenset(order[:place])], worth[frozenset(order[: place + 1])]
            for i in range(len(fit.train)):
                values[m][i] += (after[i] - before[i]) / len(orders)
    return values


def epoch_gradient(fit: Fit, chosen: list[tuple[int, str]]) -> dict[str, Tensor]:
    """The gradient of the mean loss over entries (sample, modality that is kept alone; '' keeps all)."""
    index = torch.tensor([sample for sample, _ in chosen])
    batch, features = fit.train.batch(index), {}
    for m, f in fit.model.encode(batch.inputs).items():
        silent = torch.tensor([alone not in ("", m) for _, alone in chosen])
        features[m] = f * (~silent)[:, None]
    loss = fit.task.loss(fit.model.fuse(features).logits, batch.target)
    learned = {name: p for name, p in fit.model.named_parameters() if not name.startswith("own_heads.")}
    return dict(zip(learned, torch.autograd.grad(loss, list(learned.values())), strict=True))
