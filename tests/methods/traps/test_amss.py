"""AMSS's released rule: the masks of the fusion head are never applied."""

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.testing.fits import NAMES
from mcr_bench.methods.amss import Amss
from mcr_bench.methods.joint import Joint
from mcr_bench.tests.methods.golden.test_amss import FOUR, gradients, plain_shares, require_top_units


def released(names: tuple[str, ...]) -> dict[str, Tensor]:
    """Masks of the most important units on layers of encoders, by sorting; the head as in joint training."""
    shares, rule = plain_shares(Amss(), names, FOUR), {}
    for name, g in gradients(Joint(), names).items():
        rule[name] = g.clone()
        if name.startswith("encoders.") and g.ndim >= 2:
            importance = [row.square().sum().item() for row in g]
            count = -int(-shares[name.split(".")[1]] * len(g) // 1)
            for unit in sorted(range(len(g)), key=lambda i: -importance[i])[count:]:
                rule[name][unit] = 0.0
    return rule


def distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    flat = [torch.cat([rows[name].flatten() for name in other]) for rows in (one, other)]
    return ((flat[0] - flat[1]).norm() / flat[1].norm()).item()


@pytest.mark.parametrize("count", [2, 3])
def test_official_is_the_released_rule_and_paper_is_not(count: int) -> None:
    names = NAMES[:count]
    rule = released(names)
    assert distance(gradients(Amss(variant="official", sample="top"), names), rule) < 1e-9
    assert distance(gradients(Amss(sample="top"), names), rule) > 1e-3


@pytest.mark.parametrize("count", [2, 3])
def test_the_defect_in_the_paper_s_rule_would_be_seen(count: int) -> None:
    require_top_units(Amss(sample="top"), NAMES[:count])
    with pytest.raises(AssertionError):
        require_top_units(Amss(variant="official", sample="top"), NAMES[:count])
