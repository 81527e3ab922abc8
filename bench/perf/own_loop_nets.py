"""A small network in a loop of somebody's own, whose steps are balanced by hand or by a `Balancer`."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from mcr_bench.bench.api.balancer import Balancer
from mcr_bench.bench.perf.measured import Work

CLASSES, WIDTH, ALPHA = 6, 64, 0.8
Samples = Mapping[str, Tensor]
Backward = Callable[[dict[str, Tensor], Tensor, Tensor], object]


class Net(nn.Module):
    """Two convolutional encoders, of spectrograms `m1` and pictures `m2`, and a linear layer on their features."""

    def __init__(self) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({"m1": _encoder(1), "m2": _encoder(3)})
        self.head = nn.Linear(2 * WIDTH, CLASSES)

    def forward(self, samples: Samples) -> tuple[dict[str, Tensor], Tensor]:
        """Samples (B, 1, H, W) and (B, 3, H, W) -> features (B, d) by modality, and logits (B, C)."""
        features = {m: encoder(samples[m]) for m, encoder in self.encoders.items()}
        return features, self.head(torch.cat(list(features.values()), dim=-1))


def _encoder(channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in ((channels, 16), (16, 32)):
        layers += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(32 * 16, WIDTH), nn.ReLU())


def by_balancer(net: Net, method: str) -> Backward:
    """The gradients of a step, set by a `Balancer` with the method."""
    balance = Balancer(method, dict(net.encoders.items()), net.head, settings={"alpha": ALPHA})
    return lambda _, logits, target: balance.backward(logits, target)


def by_hand(net: Net) -> Backward:
    """The gradients of a step of on-the-fly gradient modulation (arXiv 2203.15332), without anything of the harness."""

    def backward(features: dict[str, Tensor], logits: Tensor, target: Tensor) -> None:
        nn.functional.cross_entropy(logits, target).backward()
        with torch.no_grad():
            slices = zip(features.values(), net.head.weight.split(WIDTH, dim=1), strict=True)
            branches = [nn.functional.linear(f, weight, net.head.bias / 2) for f, weight in slices]
            first, second = (z.softmax(1).gather(1, target[:, None]).sum() for z in branches)
            for encoder, ratio in zip(net.encoders.values(), (first / second, second / first), strict=True):
                if ratio > 1:
                    _scale(encoder, 1 - torch.tanh(ALPHA * ratio))

    return backward


def _scale(encoder: nn.Module, coefficient: Tensor) -> None:
    for parameter in encoder.parameters():
        if parameter.grad is not None and parameter.ndim >= 2:
            parameter.grad.mul_(coefficient)


def loop(net: Net, backward: Backward, samples: Samples, target: Tensor, steps: int) -> Work:
    """So many training steps with SGD on one batch."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)

    def train() -> None:
        for _ in range(steps):
            features, logits = net(samples)
            optimizer.zero_grad()
            backward(features, logits, target)
            optimizer.step()

    return train
