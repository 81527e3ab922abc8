"""DI-MML's contrast overflows, and is a constant where no dimension is left."""

import math

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.testing.fits import NAMES, make_fit, whole_batch
from mcr_bench.methods.di_mml import DiMml
from mcr_bench.methods.terms.features.dimensions import drawn_towards

TEMPERATURE = 3.0


def released(student: Tensor, teacher: Tensor) -> Tensor:
    """Anchor by anchor: exponentials of products over the temperature, a share, its logarithm."""
    total = torch.zeros((), dtype=student.dtype)
    for row, right in zip(student, teacher, strict=True):
        share = torch.exp(row @ right / TEMPERATURE) / torch.exp(teacher @ row / TEMPERATURE).sum()
        total = total - torch.log(share)
    return total / len(student)


def intended(student: Tensor, teacher: Tensor) -> Tensor:
    """The same with every product relative to the largest one of its anchor."""
    scores = student @ teacher.T / TEMPERATURE
    scores = scores - scores.max(1, keepdim=True).values
    return (scores.exp().sum(1).log() - scores.diagonal()).mean()


def gradients(rule: object, size: float, count: int) -> tuple[Tensor, Tensor]:
    """Value and gradient for features of about `size`, of a sum over the pairs of `count` modalities."""
    assert callable(rule)
    features = size * torch.randn(count, 6, 4, generator=torch.Generator().manual_seed(count), dtype=torch.float64)
    features.requires_grad_()
    pairs = [(t, s) for t in range(count) for s in range(count) if t != s]
    value = torch.stack([rule(features[s], features[t].detach()) for t, s in pairs]).sum()
    return value, torch.autograd.grad(value, features)[0]


def of_method(student: Tensor, teacher: Tensor, official: bool) -> Tensor:
    return drawn_towards(student, teacher, TEMPERATURE, official=official)


def paper(student: Tensor, teacher: Tensor) -> Tensor:
    return of_method(student, teacher, False)


def official(student: Tensor, teacher: Tensor) -> Tensor:
    return of_method(student, teacher, True)


def require_equal(mine: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> None:
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3])
def test_each_variant_is_what_the_words_say(count: int) -> None:
    require_equal(gradients(official, 1.0, count), gradients(released, 1.0, count))
    for size in (1.0, 100.0):
        require_equal(gradients(paper, size, count), gradients(intended, size, count))


@pytest.mark.parametrize("count", [2, 3])
def test_large_features_overflow_in_the_released_code_and_would_fail_the_test_of_paper(count: int) -> None:
    for rule in (official, released):
        value, gradient = gradients(rule, 100.0, count)
        assert not value.isfinite()
        assert gradient.isnan().any()
    assert gradients(paper, 100.0, count)[1].isfinite().all()
    with pytest.raises(AssertionError):
        require_equal(gradients(official, 100.0, count), gradients(intended, 100.0, count))


@pytest.mark.parametrize("count", [2, 3])
def test_no_dimension_is_a_constant_in_the_released_code_alone(count: int) -> None:
    for variant, want in (("official", math.log(24)), ("paper", 0.0)):
        method = DiMml(variant=variant)
        fit = make_fit(method, NAMES[:count], dtype=torch.float64)
        features = method.forward(whole_batch(fit)).features
        all_alike = torch.ones(count, 6, dtype=torch.bool)
        terms = method.contrast(features, all_alike, {})
        assert [t.item() for t in terms.values()] == pytest.approx([want] * count * (count - 1), abs=1e-12)
        assert len(terms) == count * (count - 1)
