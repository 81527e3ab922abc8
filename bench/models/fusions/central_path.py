"""The central path of CentralNet: weighted sums of the stages of all encoders (Vielzeuf et al., 2018)."""

import torch
from torch import Tensor, nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.declared import FusionKind, Sizes
from mcr_bench.bench.models.fusion import Fused, Fusion, sum_of
from mcr_bench.bench.models.parts import as_encoded, pooled_stages


class Contributions(nn.Module):
    """What belongs to one modality: the weight of each of its stages, and a projection to the width d of the path."""

    def __init__(self, channels: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.empty(len(channels) + 1))
        self.projections = nn.ModuleList(
            nn.Identity() if size == width else nn.Linear(size, width, bias=False) for size in channels
        )

    def reset_parameters(self) -> None:
        """Weights of 1."""
        nn.init.ones_(self.weights)

    def forward(self, stages: list[Tensor], features: Tensor) -> list[Tensor]:
        """Pooled stages (B, K_s) and features (B, d) -> what each adds to the path, (B, d)."""
        sized = [project(stage) for project, stage in zip(self.projections, stages, strict=True)]
        return [weight * x for weight, x in zip(self.weights, [*sized, features], strict=True)]


class CentralPath(Fusion):
    """h_1 = relu(V_1 sum_m a_{m,1} s_{m,1} + c_1), h_i = relu(V_i (a_i h_{i-1} + sum_m a_{m,i} s_{m,i}) + c_i) (eq. 1).

    s_{m,i} is stage i of modality m's encoder, and at last its features; z = W h_L + b. A stage is pooled to one vector
    (B, K): its mean over space, and over the own steps of sequences; where K is not d, a linear layer makes it (B, d).
    An encoder with fewer stages than others joins later, so that the features of all come in at the end.

    stages: modality -> the number of channels K of each stage.
    """

    reads = ("stages",)

    def __init__(self, stages: Sizes, width: int, outputs: int) -> None:
        super().__init__()
        self.names = sorted(stages)
        depth = 1 + max(len(channels) for channels in stages.values())
        self.slices = nn.ModuleDict({m: Contributions(stages[m], width) for m in self.names})
        self.carried = nn.Parameter(torch.empty(depth - 1))
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.output = nn.Linear(width, outputs)

    def reset_parameters(self) -> None:
        """Weights of 1 for what the path itself carries on."""
        nn.init.ones_(self.carried)

    def forward(self, features: dict[str, Tensor]) -> Fused:
        """Encoded features (B, d), whose stages are read, -> logits (B, C)."""
        stages = as_encoded(features, "stages").stages
        added = {m: self.slices[m](pooled_stages(stages[m]), features[m]) for m in self.names}
        hidden = None
        for place, layer in enumerate(self.layers):
            left = len(self.layers) - place  # stages from here to the end
            joined = sum_of({m: steps[-left] for m, steps in added.items() if len(steps) >= left})
            hidden = layer(joined if hidden is None else self.carried[place - 1] * hidden + joined).relu()
        return Fused(self.output(hidden), None)


def without_stages(*_: object) -> Fusion:
    """UserError: the path depends on the stages of the encoders, which names do not tell."""
    raise UserError("model.fusion=central-path is made for encoders whose stages are known; use build_model.")


KIND = FusionKind(
    name="central-path",
    about="a network whose layers take weighted sums of the encoders' stages (CentralNet)",
    make=without_stages,
    make_on=lambda stages, width, outputs, _: CentralPath(stages, width, outputs),
    reads=CentralPath.reads,
    reference="CentralNet: a Multilayer Approach for Multimodal Fusion (ECCV 2018 workshops, arXiv 1808.07275), eq. 1",
    deviations=(
        "Stages are pooled to vectors, so that encoders of any kind can be joined, and the path has linear layers. "
        "Reference: convolutions where all encoders are convolutional and stages have one shape.",
        "The loss is that of the method. Reference: the losses of all modalities are added to it.",
        "No official code was available to compare with; all weights of the sums start at 1 (our choice).",
    ),
    at_least=2,
)
