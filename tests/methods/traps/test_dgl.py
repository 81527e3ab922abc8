"""DGL's filter matches no name: the fusion head keeps the gradients of the unimodal losses beside those of its own."""

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, whole_batch
from mcr_bench.methods.dgl import DGL

ALPHA = 3.0


def fit_of(method: DGL, count: int) -> Fit:
    return make_fit(method, NAMES[:count], fusion="concat-mlp", dtype=torch.float64, optimizer__name="sgd")


def losses(fit: Fit) -> tuple[Tensor, Tensor]:
    """The fused loss of features without gradient, and alpha times the sum of those with zeros in place of others."""
    batch, model = whole_batch(fit), fit.model
    rows, features = torch.arange(len(batch.target)), model.encode(batch.inputs)

    def entropy(chosen: dict[str, Tensor]) -> Tensor:
        return -model.fusion(chosen).logits.log_softmax(1)[rows, batch.target].mean()

    alone = [entropy({n: f * float(n == m) for n, f in features.items()}) for m in features]
    return entropy({m: f.detach() for m, f in features.items()}), ALPHA * torch.stack(alone).sum()


def released(fit: Fit, prefix: str = "") -> dict[str, Tensor]:
    """Both backward passes; between them gradients are dropped where the name's second part says fusion.

    prefix: "module." where DataParallel wraps the model; without it no name has such a second part.
    """
    fused, alone = losses(fit)
    alone.backward()
    for name, parameter in fit.model.named_parameters():
        if "fusion" in f"{prefix}{name}".split(".")[1]:
            parameter.grad = None
    fused.backward()
    return taken(fit)


def intended(fit: Fit) -> dict[str, Tensor]:
    """The gradients of each loss for its own parameters alone."""
    fused, alone = losses(fit)
    found = {}
    for room, loss in (("encoders.", alone), ("fusion.", fused)):
        named = {n: p for n, p in fit.model.named_parameters() if n.startswith(room)}
        found |= dict(zip(named, torch.autograd.grad(loss, list(named.values()), retain_graph=True), strict=True))
    return found


def taken(fit: Fit) -> dict[str, Tensor]:
    return {name: p.grad for name, p in fit.model.named_parameters() if p.grad is not None}


def stepped(variant: str, count: int) -> dict[str, Tensor]:
    method = DGL(alpha=ALPHA, variant=variant)
    fit = fit_of(method, count)
    step(method)
    return taken(fit)


def require_equal(mine: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert mine.keys() == theirs.keys()
    for name, gradient in theirs.items():
        torch.testing.assert_close(mine[name], gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3])
def test_official_keeps_the_unimodal_gradients_of_the_fusion_head(count: int) -> None:
    require_equal(stepped("official", count), released(fit_of(DGL(), count)))


@pytest.mark.parametrize("count", [2, 3])
def test_paper_drops_them(count: int) -> None:
    require_equal(stepped("paper", count), intended(fit_of(DGL(), count)))


@pytest.mark.parametrize("count", [2, 3])
def test_under_data_parallel_as_in_the_released_script_they_are_dropped(count: int) -> None:
    """So the published numbers come from the rule of the paper."""
    require_equal(stepped("paper", count), released(fit_of(DGL(), count), "module."))
    assert DGL.published == "paper"


@pytest.mark.parametrize("count", [2, 3])
def test_the_defect_shows_in_the_gradient_and_would_fail_the_test_of_paper(count: int) -> None:
    paper, official = stepped("paper", count), stepped("official", count)
    for name in paper:
        apart = (paper[name] - official[name]).norm() / paper[name].norm()
        assert apart > 1e-3 if name.startswith("fusion.") else apart < 1e-9, name
    with pytest.raises(AssertionError):
        require_equal(official, intended(fit_of(DGL(), count)))
