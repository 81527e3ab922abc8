"""OGM-GE with Hugging Face Accelerate: the line that computes the gradients changes.

`pip install 'mcr-bench[loops]'`, then `python in_accelerate.py`.
"""

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import mcr_bench


class Net(nn.Module):
    """Two encoders and a linear layer on their features."""

    def __init__(self) -> None:
        super().__init__()
        self.audio = nn.Sequential(nn.Linear(20, 32), nn.ReLU())
        self.video = nn.Sequential(nn.Linear(40, 32), nn.ReLU())
        self.head = nn.Linear(64, 3)

    def forward(self, audio: Tensor, video: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.cat([self.audio(audio), self.video(video)], dim=-1))
        return logits


def data() -> TensorDataset:
    """Samples of three classes, which the audio tells better than the video."""
    draw = torch.Generator().manual_seed(0)
    target = torch.arange(96) % 3
    audio = torch.randn(96, 20, generator=draw) + target[:, None]
    return TensorDataset(audio, torch.randn(96, 40, generator=draw) + 0.2 * target[:, None], target)


def main(epochs: int = 5) -> dict[str, float]:
    """Train, and return the means of the last epoch: the loss, and the coefficient of each encoder."""
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    net, optimizer, loader = accelerator.prepare(net, optimizer, DataLoader(data(), batch_size=32, shuffle=True))
    own = accelerator.unwrap_model(net)
    balance = mcr_bench.Balancer("ogm-ge", {"audio": own.audio, "video": own.video}, own.head)
    means: dict[str, float] = {}
    for _ in range(epochs):
        balance.start_epoch()
        for audio, video, target in loader:
            logits = net(audio, video)
            optimizer.zero_grad()
            balance.backward(logits, target, by=accelerator.backward)
            optimizer.step()
        means = balance.metrics()
    return means


if __name__ == "__main__":
    print(main())
