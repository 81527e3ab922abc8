"""ARL's weights never reach the model of the official code: all encoders get the factor 1.5."""

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.testing.fits import NAMES, make_fit, step, whole_batch
from mcr_bench.methods.arl import Arl
from mcr_bench.methods.joint import Joint
from mcr_bench.tests.methods.golden.test_arl import intended

GAMMA, TEMPERATURE = 3.0, 8.0
SGD = {"optimizer__name": "sgd", "dtype": torch.float64, "clip_norm": 0.0, "fusion": "concat-mlp"}
Gradients = dict[str, Tensor]


def gradients(names: tuple[str, ...], weights_arrive: bool) -> Gradients:
    """Those of L + gamma sum_m L_m; at the output of encoder m g becomes g + g w, with w = .5 or as it was computed."""
    fit = make_fit(Joint(), names, **SGD)
    model, y = fit.model, fit.train.target
    factors = [k - 1 for k in intended(fit, TEMPERATURE)] if weights_arrive else [0.5] * len(names)
    features = model.encode(whole_batch(fit).inputs)
    for f, w in zip(features.values(), factors, strict=True):
        f.register_hook(lambda g, w=w: g + g * w)

    def entropy(given: Gradients) -> Tensor:
        return -model.fusion(given).logits.log_softmax(1)[torch.arange(len(y)), y].mean()

    alone = [entropy({n: f if n == m else torch.zeros_like(f) for n, f in features.items()}) for m in names]
    (entropy(features) + GAMMA * torch.stack(alone).sum()).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def stepped(variant: str, names: tuple[str, ...]) -> Gradients:
    method = Arl(gamma=GAMMA, temperature=TEMPERATURE, start=1, variant=variant)
    fit = make_fit(method, names, **SGD)
    step(method)
    return {name: p.grad for name, p in fit.model.named_parameters() if p.grad is not None}


def require_equal(mine: Gradients, theirs: Gradients) -> None:
    assert mine.keys() == theirs.keys()
    for name, gradient in theirs.items():
        torch.testing.assert_close(mine[name], gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3])
def test_official_multiplies_all_encoders_by_the_same_factor(count: int) -> None:
    require_equal(stepped("official", NAMES[:count]), gradients(NAMES[:count], weights_arrive=False))


@pytest.mark.parametrize("count", [2, 3])
def test_paper_multiplies_by_the_weights_and_the_defect_would_fail_this_test(count: int) -> None:
    names = NAMES[:count]
    wanted = gradients(names, weights_arrive=True)
    paper, official = (stepped(variant, names) for variant in ("paper", "official"))
    require_equal(paper, wanted)
    with pytest.raises(AssertionError):
        require_equal(official, wanted)
    for m in names:
        inside = [name for name in paper if name.startswith(f"encoders.{m}.")]
        apart, size = (
            torch.cat([x.flatten() for x in made]).norm()
            for made in ([paper[n] - official[n] for n in inside], [official[n] for n in inside])
        )
        assert apart / size > 1e-3
