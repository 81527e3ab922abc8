"""Greedy: as released, the mean gates of the second modality are those of the first one."""

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.build import build_model
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.settings.declaration import build
from mcr_bench.bench.settings.training import EncoderSettings, ModelSettings
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, step, whole_batch
from mcr_bench.methods.greedy import Greedy
from mcr_bench.tests.methods.golden.test_greedy import by_hand, opened

ONE = build(EncoderSettings, {"width": 8, "depth": 1})  # one gate, so that the last step's gates are known beforehand


def prepared(method: Greedy, names: tuple[str, ...], place: int) -> list[dict[str, Tensor]]:
    """Three steps, after which the modality at `place` is rebalanced; mean gates of these and of the next step."""
    fit = opened(method, names, encoder=ONE, optimizer__lr=0.1)
    seen = []
    for _ in range(3):
        seen.append({m: g.mean(0).detach() for m, g in by_hand(fit).gates[0].items()})
        step(method)
    curated = {"curated": torch.arange(2) == place, "left": torch.tensor(2)}
    method.load_state_dict({**method.state_dict(), **curated})
    return [*seen, {m: g.mean(0).detach() for m, g in by_hand(fit).gates[0].items()}]


def gradient(method: Greedy, loss: Tensor) -> Tensor:
    at = list(method.fit.model.parameters())
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, at, materialize_grads=True)])


def both(variant: str, names: tuple[str, ...], place: int, averaged: int) -> tuple[Tensor, Tensor]:
    """The gradient of the method in a step that rebalances, and that of means of the gates at `averaged`."""
    method = Greedy(variant=variant)
    seen = prepared(method, names, place)
    fit = method.fit
    m, source = fit.model.modalities[place], fit.model.modalities[averaged]
    mean = torch.stack([one[source] for one in seen]).mean(0)
    batch = whole_batch(fit)
    rule = gradient(method, by_hand(fit, {m: [mean]}).loss(batch.target))
    terms = method.loss(method.forward(batch), batch)
    return gradient(method, torch.stack(list(terms.values())).sum()), rule


def apart(pair: tuple[Tensor, Tensor]) -> float:
    mine, rule = pair
    return ((mine - rule).norm() / rule.norm()).item()


@pytest.mark.parametrize("names", [NAMES[:2], ("text", "depth")])
def test_official_is_the_released_rule_and_paper_is_not(names: tuple[str, ...]) -> None:
    assert apart(both("official", names, place=1, averaged=0)) < 1e-9
    assert apart(both("paper", names, place=1, averaged=0)) > 1e-3
    assert apart(both("official", names, place=0, averaged=0)) < 1e-9


def require_own_means(variant: str) -> None:
    assert apart(both(variant, NAMES[:2], place=1, averaged=1)) < 1e-9


def test_the_defect_in_the_paper_s_rule_would_be_seen() -> None:
    require_own_means("paper")
    with pytest.raises(AssertionError):
        require_own_means("official")


def test_as_released_both_stages_need_equally_many_channels() -> None:
    encoders = {m: build(EncoderSettings, {"width": width, "depth": 2}) for m, width in (("audio", 8), ("video", 4))}
    shapes = {m: Modality((5,)) for m in encoders}
    settings = build(ModelSettings, {"fusion": "late-linear", "width": 6})
    with pytest.raises(UserError, match="equally many channels"):
        Greedy(variant="official").build(build_model(shapes, Task(3), settings, encoders))
    Greedy().build(build_model(shapes, Task(3), settings, encoders))
