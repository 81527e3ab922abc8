"""Feature-wise linear modulation: one modality scales and shifts the features of the other (Perez et al., 2018)."""

from torch import Tensor, nn

from mcr_bench.bench.errors import unknown
from mcr_bench.bench.models.declared import FusionKind, Values, head_settings
from mcr_bench.bench.models.fusion import Fused, Fusion


class FiLM(Fusion):
    """z = W (gamma * V f + beta) + b with (gamma, beta) linear in the conditioning modality's features; M = 2.

    gamma is used as it is.
    """

    def __init__(self, conditioning: str, conditioned: str, width: int, outputs: int) -> None:
        super().__init__()
        self.conditioning, self.conditioned = conditioning, conditioned
        self.slices = nn.ModuleDict({conditioning: nn.Linear(width, 2 * width), conditioned: nn.Linear(width, width)})
        self.output = nn.Linear(width, outputs)

    def forward(self, features: dict[str, Tensor]) -> Fused:
        """Features (B, d) of both modalities -> logits (B, C)."""
        gamma, beta = self.slices[self.conditioning](features[self.conditioning]).chunk(2, -1)
        hidden = gamma * self.slices[self.conditioned](features[self.conditioned]) + beta
        return Fused(self.output(hidden), None)


def make_film(modalities: list[str], width: int, outputs: int, values: Values) -> FiLM:
    """The head whose conditioning modality the settings name, by default the first; UserError for an unknown one."""
    conditioning = str(values.get("conditioning") or modalities[0])
    if conditioning not in modalities:
        raise unknown("modality in model.conditioning", conditioning, modalities)
    conditioned = next(m for m in modalities if m != conditioning)
    return FiLM(conditioning, conditioned, width, outputs)


KIND = FusionKind(
    name="film",
    about="one modality scales and shifts the features of the other",
    make=make_film,
    settings=head_settings("conditioning"),
    at_least=2,
    at_most=2,
    ordered=True,
)
