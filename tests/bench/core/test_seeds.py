"""Random streams: independent, stateless, restored; initial weights keyed by module names."""

import itertools
import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.core.seeds import STREAMS, generator, initialise, reseed_libraries, seeded, stream_seed


def draw(seed: int, stream: str, *names: object, n: int = 1000) -> Tensor:
    return torch.randn(n, generator=generator(seed, stream, *names))


def test_a_draw_depends_on_its_name_alone() -> None:
    expected = draw(3, "method", 1, 2, "audio")
    draw(3, "batches")
    torch.manual_seed(99)
    draw(3, "method", 1, 2, "video")
    torch.testing.assert_close(draw(3, "method", 1, 2, "audio"), expected, rtol=0, atol=0)


def test_every_seed_stream_and_name_gives_another_seed() -> None:
    names: list[tuple[object, ...]] = [(), ("",), (1,), (2,), (12,), (1, 2), (2, 1), ("1\x1f",), ("a", "b"), ("ab",)]
    seeds = [stream_seed(s, stream, *n) for s, stream, n in itertools.product(range(20), STREAMS, names)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seed_and_names_are_kept_apart() -> None:
    assert stream_seed(1, "init", 23) != stream_seed(12, "init", 3)


def test_streams_are_uncorrelated() -> None:
    """For 10,000 independent pairs the correlation has standard deviation .01; six of them are allowed."""
    draws = torch.stack([draw(0, stream, n=10_000) for stream in STREAMS] + [draw(1, "init", n=10_000)])
    off_diagonal = torch.corrcoef(draws) - torch.eye(len(draws))
    assert float(off_diagonal.abs().max()) < 0.06


@pytest.mark.parametrize("make", [stream_seed, generator])
def test_unknown_streams_are_errors_that_name_the_known(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="unknown stream 'weights'; streams are init, batches, augment, method, data"):
        make(0, "weights")


def test_seeded_draws_from_the_stream_and_restores_the_global_generator() -> None:
    torch.manual_seed(5)
    torch.rand(3)
    before = torch.get_rng_state()
    with seeded(2, "augment", "x"):
        inside = torch.randn(4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(inside, draw(2, "augment", "x", n=4), rtol=0, atol=0)


def test_seeded_restores_the_global_generator_after_an_error() -> None:
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="normal expects"), seeded(2, "augment"):
        torch.normal(torch.rand(3), -1.0)
    assert torch.equal(torch.get_rng_state(), before)


def test_initialise_is_keyed_by_qualified_names() -> None:
    small = nn.ModuleDict({"b": nn.Linear(3, 2)})
    large = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(3, 2)})
    initialise(small, 7)
    initialise(large, 7)
    torch.testing.assert_close(small["b"].weight, large["b"].weight, rtol=0, atol=0)
    with seeded(7, "init", "b"):
        expected = nn.Linear(3, 2).weight
    torch.testing.assert_close(small["b"].weight, expected, rtol=0, atol=0)


def test_initialise_leaves_the_global_generator_alone() -> None:
    layer = nn.Linear(3, 2)
    before = torch.get_rng_state()
    initialise(layer, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_initialise_draws_attention_too() -> None:
    layers = [nn.TransformerEncoderLayer(8, 2, 16) for _ in range(2)]
    for layer in layers:
        initialise(layer, 0)
    for first, second in zip(*(layer.parameters() for layer in layers), strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_a_module_that_cannot_be_drawn_is_an_error() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

    with pytest.raises(TypeError, match=r"module 'inner' \(Bare\) owns parameters but has no reset_parameters"):
        initialise(nn.ModuleDict({"inner": Bare()}), 0)


def test_the_generators_of_python_and_numpy_follow_a_named_draw() -> None:
    def drawn(*names: object) -> tuple[float, float]:
        reseed_libraries(*names)  # type: ignore[arg-type]
        return random.random(), np.random.rand()

    assert drawn(3, "method", 1) == drawn(3, "method", 1)
    assert len({drawn(3, "method", 1), drawn(3, "method", 2), drawn(4, "method", 1)}) == 3
