"""CGGM's released step: the cosine of weights, accuracies of two batches without bounds, the last batch's alignment."""

import copy

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.testing.fits import NAMES, make_fit, step
from mcr_bench.methods.cggm import Cggm
from mcr_bench.methods.joint import Joint

RATE, RHO, WEIGHT, HEADS = 0.3, 1.3, 0.7, 0.5
SGD = {
    "optimizer__name": "sgd", "optimizer__lr": RATE, "optimizer__momentum": 0.0, "optimizer__weight_decay": 0.0,
    "dtype": torch.float64, "clip_norm": 0.0,
}  # fmt: skip
ROWS = [torch.arange(0, 7), torch.arange(5, 14), torch.arange(12, 24), torch.arange(3, 11)]
Gradients = dict[str, Tensor]


def released(names: tuple[str, ...]) -> list[Gradients]:
    """The gradients of each step, made one after the other with plain autograd, as the official code makes them."""
    fit, made = make_fit(Joint(), names, **SGD), []
    model, acc1, l_gm = fit.model, dict.fromkeys(names, 0.0), None
    for rows in ROWS:
        batch = fit.train.batch(rows)
        model.zero_grad()
        outputs = model(batch.inputs)
        loss = cross_entropy(outputs.logits, batch.target)
        if l_gm is not None:
            loss = loss + WEIGHT * l_gm  # a graph over the weights of the step before
        loss.backward()
        cls = {m: model.own_heads[m](f.detach()) for m, f in outputs.features.items()}
        torch.stack([cross_entropy(z, batch.target) for z in cls.values()]).sum().backward()
        cos = {
            m: weights_cosine(model.own_heads[m].weight.clone(), model.fusion.slices[m].weight.clone()) for m in names
        }
        acc2 = {m: (z.argmax(1) == batch.target).double().mean().item() for m, z in cls.items()}
        diff = {m: acc2[m] - acc1[m] for m in names}
        total = sum(diff.values()) + 1e-8
        coeff, acc1 = {m: (total - d) / total for m, d in diff.items()}, acc2
        l_gm = (sum(abs(c) for c in coeff.values()) - sum(coeff[m] * cos[m] for m in names)) / len(names)
        for name, p in model.named_parameters():
            if name.startswith("encoders."):
                p.grad = p.grad * coeff[name.split(".")[1]] * RHO
        made.append({name: p.grad.clone() for name, p in model.named_parameters()})
        with torch.no_grad():
            for name, p in model.named_parameters():
                p -= RATE * (HEADS if name.startswith("own_heads.") else 1.0) * p.grad
        model.own_heads.zero_grad()  # what the alignment leaves in the classifiers is removed before their own step
    return made


def cross_entropy(z: Tensor, y: Tensor) -> Tensor:
    return -z.log_softmax(1)[torch.arange(len(y)), y].mean()


def weights_cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a.detach() * b).sum() / (a.detach().norm() * b.norm())


def stepped(variant: str, names: tuple[str, ...]) -> list[Gradients]:
    method = Cggm(rho=RHO, weight=WEIGHT, head_rate=HEADS, variant=variant)
    fit, made = make_fit(method, names, **SGD), []
    for rows in ROWS:
        step(method, fit.train.batch(rows))
        made.append({name: p.grad.clone() for name, p in fit.model.named_parameters()})
    return made


def require_equal(mine: list[Gradients], theirs: list[Gradients]) -> None:
    for ours, wanted in zip(mine, theirs, strict=True):
        assert ours.keys() == wanted.keys()
        for name, gradient in wanted.items():
            torch.testing.assert_close(ours[name], gradient, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("count", [2, 3])
def test_official_is_the_released_step(count: int) -> None:
    require_equal(stepped("official", NAMES[:count]), released(NAMES[:count]))


@pytest.mark.parametrize("count", [2, 3])
def test_paper_is_not_and_the_defects_would_fail_its_test(count: int) -> None:
    """The first epoch of paper is joint training: each step of the official code differs from it."""
    names = NAMES[:count]
    official, paper = released(names), stepped("paper", names)
    with pytest.raises(AssertionError):
        require_equal(paper, official)
    for ours, theirs in zip(paper, official, strict=True):
        a, b = (torch.cat([g.flatten() for n, g in x.items() if n.startswith("encoders.")]) for x in (ours, theirs))
        assert (a - b).norm() / b.norm() > 1e-3


def alignment(fit: Fit, method: Cggm, rows: Tensor) -> Tensor | None:
    batch = fit.train.batch(rows)
    return method.loss(method.forward(batch), batch).get("alignment")


def test_the_alignment_of_paper_is_that_of_its_own_batch_and_the_official_one_of_the_last() -> None:
    """Two batches after one and the same: the official term is equal in both and does not reach the encoders."""
    for variant in ("paper", "official"):
        method = Cggm(weight=WEIGHT, variant=variant)
        fit = make_fit(method, **SGD)
        fit.epoch = 1
        method.load_state_dict({"accuracy": torch.zeros(2), "slow": torch.tensor([0.5, 0.9]), "pending": {}})
        assert (alignment(fit, method, ROWS[0]) is None) == (variant == "official")
        step(method, fit.train.batch(ROWS[0]))
        first, second = (alignment(fit, method, rows) for rows in ROWS[1:3])
        assert first is not None
        assert torch.equal(first, second) == (variant == "official")
        encoders = list(fit.model.encoders.parameters())
        reached = [g for g in torch.autograd.grad(first, encoders, allow_unused=True) if g is not None]
        assert bool(reached) == (variant == "paper")


def test_an_interrupted_official_step_goes_on_alike() -> None:
    method, other = (Cggm(variant="official") for _ in range(2))
    fit, again = (make_fit(one, **SGD) for one in (method, other))
    step(method, fit.train.batch(ROWS[0]))
    again.model.load_state_dict(copy.deepcopy(fit.model.state_dict()))
    other.load_state_dict(copy.deepcopy(method.state_dict()))
    for one in (method, other):
        step(one, fit.train.batch(ROWS[1]))
    for p, q in zip(fit.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(p, q)
