"""The formula of the encoder, with numbers worked out by hand; `mcr-bench check` has the rest."""

import torch

from mcr_bench_example.mean_steps import MeanSteps, mean_of


def test_only_real_steps_count() -> None:
    steps = torch.tensor([[[2.0], [4.0]], [[6.0], [8.0]]])
    assert mean_of(steps, torch.tensor([[True, True], [True, False]])).tolist() == [[3.0], [6.0]]


def test_the_features_are_the_mean_of_the_tokens() -> None:
    net = MeanSteps((5, 3), width=4, hidden=8)
    x = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    tokens, real = net.tokens(x, torch.tensor([5, 2]))
    assert real.sum(1).tolist() == [5, 2]
    torch.testing.assert_close(net(x, torch.tensor([5, 2]))[1], tokens[1, :2].mean(0))


def test_a_vector_is_a_sequence_of_one_step() -> None:
    net = MeanSteps((3,), width=4, hidden=8)
    x = torch.ones(2, 3)
    torch.testing.assert_close(net(x), net(x[:, None]))
