"""The formula of the head, with numbers worked out by hand; `mcr-bench check` has the rest."""

import torch

from mcr_bench_example.unit_sum import UnitSum, of_length


def test_features_get_the_length() -> None:
    assert of_length(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), 5.0).tolist() == [[3.0, 4.0], [0.0, 0.0]]


def test_the_logits_are_the_sum_of_the_linear_layers() -> None:
    head = UnitSum(["audio", "video"], width=2, outputs=1, scale=5.0)
    with torch.no_grad():
        for value, layer in zip((1.0, 2.0), head.slices.values(), strict=True):
            layer.weight.fill_(value)
        head.bias.fill_(0.5)
    features = {"audio": torch.tensor([[6.0, 8.0]]), "video": torch.tensor([[0.1, 0.0]])}
    torch.testing.assert_close(head.branches(features)["audio"], torch.tensor([[7.0]]))  # 3 + 4
    torch.testing.assert_close(head(features), torch.tensor([[17.5]]))  # 7 + 2 * 5 + 0.5
