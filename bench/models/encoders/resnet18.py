"""ResNet-18 (He et al., 2016), any number of input channels and any width, for images and clips."""

from torch import Tensor, nn
from torch.nn import functional as F

from mcr_bench.bench.models.declared import SIZES, EncoderKind, Values, as_encoder_settings, encoder_settings
from mcr_bench.bench.models.frames import FrameEncoder
from mcr_bench.bench.problem.facts import Modality

STAGES = (3, 5, 7, 9, 11)  # the layers of the trunk that end the stem and the four stages


class Convolution(nn.Conv2d):
    """A square convolution without bias, drawn as in the paper on rectifiers: He normal, fan out."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int) -> None:
        super().__init__(channels, out, kernel, stride, kernel // 2, bias=False)

    def reset_parameters(self) -> None:
        """He normal, fan out."""
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")


class BatchNorm(nn.BatchNorm2d):
    """Batch norm whose running statistics stand in where a batch has one value per channel and so no variance."""

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.numel() == input.shape[1]:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


class Block(nn.Module):
    """Two 3 x 3 convolutions and a short cut, which is a 1 x 1 convolution where the shape changes."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *(Convolution(channels, out, 3, stride), BatchNorm(out), nn.ReLU(inplace=True)),
            *(Convolution(out, out, 3, 1), BatchNorm(out)),
        )
        same = stride == 1 and channels == out
        self.shortcut = nn.Identity() if same else nn.Sequential(Convolution(channels, out, 1, stride), BatchNorm(out))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.residual(x) + self.shortcut(x), inplace=True)


def resnet18_trunk(channels: int, width: int) -> nn.Sequential:
    """(N, C, H, W) -> (N, 8 width, H / 32, W / 32); width 64 is the ResNet-18 of the paper."""
    stem = (Convolution(channels, width, 7, 2), BatchNorm(width), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1))
    blocks: list[nn.Module] = []
    size = width
    for stage in range(4):
        out = width * 2**stage
        blocks += [Block(size, out, 1 if stage == 0 else 2), Block(out, out, 1)]
        size = out
    return nn.Sequential(*stem, *blocks)


def resnet18_encoder(channels: int, out: int, width: int, dropout: float) -> FrameEncoder:
    """Features of 8 `width` channels, with a linear layer after them where `out` differs; dropout after pooling."""
    project = nn.Identity() if out == 8 * width else nn.Linear(8 * width, out)
    last = nn.Sequential(nn.Dropout(dropout), project) if dropout else project
    return FrameEncoder(resnet18_trunk(channels, width), last, STAGES)


def make(modality: Modality, out: int, values: Values) -> nn.Module:
    """The encoder of one modality."""
    settings = as_encoder_settings(values)
    return resnet18_encoder(modality.shape[-3], out, settings.width, settings.dropout)


KIND = EncoderKind(
    name="resnet18",
    about="ResNet-18 on every frame, means over space and frames",
    make=make,
    axes=(3, 4),
    padded=(4,),
    settings=encoder_settings(*SIZES),
    tokens=True,
    stages=True,
    channels_last=True,
)
