"""InfoReg's released rule: one modality's window, two constants as coefficients, losses of the shares of the logits."""

import math

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.testing.fits import NAMES, make_fit
from mcr_bench.bench.testing.trials.epochs import batches, begin_epoch, end_epoch, make_step
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.inforeg import InfoReg, in_learning_window, in_released_window, pull, released_pull
from mcr_bench.methods.joint import Joint

SGD = {"optimizer__name": "sgd", "optimizer__lr": 0.3, "batch_size": 8, "dtype": torch.float64, "clip_norm": 0.0}
State = dict[str, Tensor]


def released_gradients(names: tuple[str, ...], weights: State, start: State, batch: Batch, window: bool) -> State:
    """What the released step leaves in the gradients: L + sum_m CE of the shares, and the pull in the window."""
    fit = make_fit(Joint(), names, **SGD)
    fit.model.load_state_dict(weights)
    model, rows = fit.model, torch.arange(len(batch.target))
    shares = {
        m: model.encoders[m](batch.inputs.values[m], None) @ model.fusion.slices[m].weight.T
        + model.fusion.bias / len(names)
        for m in names
    }
    for z in (sum(shares.values()), *shares.values()):
        (-z.log_softmax(1)[rows, batch.target].mean()).backward(retain_graph=True)
    sums = {m: z.softmax(1)[rows, batch.target].sum().item() for m, z in shares.items()}
    for i, m in enumerate(names):
        gap = sums[m] - sum(v for k, v in sums.items() if k != m) / (len(names) - 1)
        factor = (0.95 if i == 0 else 0.1) * math.exp(math.tanh(gap)) if gap > 0 and window else 0.0
        for name, p in model.named_parameters():
            if name.startswith(f"encoders.{m}.") and p.grad is not None:
                p.grad += factor * (p.detach() - start[name])
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def compare(variant: str, count: int, epochs: int = 2) -> list[float]:
    """The relative distance of each step's gradients from the released ones. The window is open in these epochs."""
    names, away = NAMES[:count], []
    method = InfoReg(variant=variant)
    fit = make_fit(method, names, **SGD)
    for _ in range(epochs):
        begin_epoch(method)
        start = {k: v.clone() for k, v in fit.model.state_dict().items()}
        for batch in batches(method):
            before = {k: v.clone() for k, v in fit.model.state_dict().items()}
            make_step(method, batch)
            wanted = released_gradients(names, before, start, batch, window=True)
            mine = {name: p.grad for name, p in fit.model.named_parameters() if p.grad is not None}
            assert mine.keys() == wanted.keys()
            difference = torch.cat([(mine[name] - g).flatten() for name, g in wanted.items()]).norm()
            away.append((difference / torch.cat([g.flatten() for g in wanted.values()]).norm()).item())
        end_epoch(method)
    return away


@pytest.mark.parametrize("count", [2, 3])
def test_official_is_the_released_rule_and_paper_is_not(count: int) -> None:
    assert max(compare("official", count)) < 1e-9
    assert min(compare("paper", count)) > 1e-3


def released_window(traces: list[float]) -> bool:
    """By the words: a list that begins with ten zeros; means of ten, one epoch apart; open in epoch 0."""
    if not traces:
        return True
    listed = [0.0] * 10 + traces
    now, before = sum(listed[-10:]) / 10, sum(listed[-11:-1]) / 10
    return now > 0 and (now - before) / now > 0.05


def test_the_released_window() -> None:
    rows = [[1.0 + 0.1 * i for i in range(n)] for n in range(14)] + [[1.0] * n for n in range(9, 14)] + [[0.0] * 3]
    assert [in_released_window(row) for row in rows] == [released_window(row) for row in rows]
    assert in_released_window([1.0] * 5)
    assert not in_learning_window([1.0] * 5, 0.04), "a trace that does not rise"
    assert not in_released_window([1.0] * 10 + [1.1]), "a rise of a tenth is a hundredth of the mean of ten"
    assert in_learning_window([1.0] * 10 + [1.1], 0.04)


def test_the_released_window_sees_the_first_modality_alone() -> None:
    rising, level = [1.0, 2.0], [5.0, 5.0]
    for first, second in ((rising, level), (level, rising)):
        opened = {}
        for variant in ("official", "paper"):
            method = InfoReg(variant=variant)
            fit = make_fit(method, **SGD)
            traces = [[0.0, 0.0]] * 9 + [[a, b] for a, b in zip(first, second, strict=True)]
            if first is level:
                traces = [[5.0, 1.0]] * 11 + [[5.0, 2.0]]
            method.load_state_dict({"traces": traces, "gaps": [0.4, 0.0]})
            begin_epoch(method)
            for batch in batches(method)[:2]:
                make_step(method, batch)
            opened[variant] = any(name.startswith("coefficient/") for name in fit.meters.means())
        assert opened["paper"]
        assert opened["official"] == (first is rising)


@pytest.mark.parametrize("count", [2, 3])
def test_coefficients_of_sums_are_two_constants(count: int) -> None:
    gaps = torch.tensor([28.0, -19.0, -9.0][:count], dtype=torch.float64)
    assert released_pull(gaps)[0].item() == pytest.approx(0.95 * math.e, rel=1e-6)
    assert released_pull(gaps.flip(0))[-1].item() == pytest.approx(0.1 * math.e, rel=1e-6)
    assert (released_pull(gaps) - pull(gaps.clamp(min=0) / 64, 0.9)).abs().max() > 1e-3


def test_the_defect_in_the_paper_s_rule_would_be_seen() -> None:
    """The golden value of the paper's coefficients does not hold for the released ones."""
    gaps = torch.tensor([0.1, 0.5], dtype=torch.float64)
    expected = torch.tensor([0.0, math.exp(0.9 * math.tanh(0.5))], dtype=torch.float64)
    torch.testing.assert_close(pull(gaps, 0.9), expected)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(released_pull(gaps), expected)
    with pytest.raises(AssertionError):
        assert not in_released_window([1.0] * 5)
