"""OGM-GE in PyTorch Lightning: two lines of `training_step` change.

`pip install 'mcr-bench[loops]'`, then `python in_lightning.py`.
"""

import lightning
import torch
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


class Balanced(lightning.LightningModule):
    """The network with OGM-GE in place of plain gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False  # the Balancer computes the gradients
        self.net = Net()
        encoders = {"audio": self.net.audio, "video": self.net.video}
        self.balance = mcr_bench.Balancer("ogm-ge", encoders, self.net.head)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        audio, video, target = batch
        optimizer = self.optimizers()
        logits = self.net(audio, video)
        optimizer.zero_grad()
        loss = self.balance.backward(logits, target, by=self.manual_backward)
        optimizer.step()
        self.log("loss", loss)

    def on_train_epoch_start(self) -> None:
        self.balance.start_epoch()

    def on_train_epoch_end(self) -> None:
        self.log_dict(self.balance.metrics())  # losses and coefficients of the epoch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.net.parameters(), lr=0.05)


def data() -> TensorDataset:
    """Samples of three classes, which the audio tells better than the video."""
    draw = torch.Generator().manual_seed(0)
    target = torch.arange(96) % 3
    audio = torch.randn(96, 20, generator=draw) + target[:, None]
    return TensorDataset(audio, torch.randn(96, 40, generator=draw) + 0.2 * target[:, None], target)


def main(epochs: int = 5) -> dict[str, float]:
    """Train, and return what was logged last."""
    lightning.seed_everything(0, verbose=False)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Balanced(), DataLoader(data(), batch_size=32, shuffle=True))
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


if __name__ == "__main__":
    print(main())
