"""A fusion head in which every modality has several classifiers, which end in one layer that all share."""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.utils import skip_init

from mcr_bench.bench.core.precision import full_precision, promoted
from mcr_bench.bench.models.fusion import Fused, Fusion, sum_of
from mcr_bench.bench.models.multimodal import MultimodalModel


class Boosted(Fusion):
    """A classifier of modality m is H(relu(V f_m + c)): a layer V, c of half the width, and a layer H that all share.

    `embeddings` hold each modality's first V and c. More of them are modules of the same kind (`embedding`).
    """

    additive = True

    def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
        super().__init__()
        self.width, self.hidden = width, max(1, width // 2)
        self.slices = nn.ModuleDict()
        self.embeddings = nn.ModuleDict({m: self.embedding() for m in modalities})
        self.head = nn.Linear(self.hidden, outputs)

    def embedding(self) -> nn.Module:
        """A new layer V, c, whose weights are not drawn yet."""
        # without draws from PyTorch's global generator
        layer: nn.Module = skip_init(nn.Linear, self.width, self.hidden)
        return layer

    def owner(self, name: str) -> str | None:
        """The modality of a parameter of `embeddings`."""
        room, _, rest = name.partition(".")
        return rest.split(".")[0] if room == "embeddings" else None

    def scored(self, embedding: nn.Module, features: Tensor) -> Tensor:
        """Features (B, d) -> logits (B, C) of the classifier with this embedding, in full precision."""
        with full_precision(self.head.weight.device):
            scores: Tensor = self.head(embedding(promoted(features)).relu())
        return scores

    def forward(self, features: dict[str, Tensor]) -> Fused:
        """Features (B, d) of every modality -> the mean of its first classifiers' logits (B, C), and their shares."""
        branches = {m: self.scored(layer, features[m]) / len(features) for m, layer in self.embeddings.items()}
        return Fused(sum_of(branches), branches)


def added(model: MultimodalModel, modality: str) -> Iterator[nn.Module]:
    """The embeddings that have grown for a modality, in their order: `extras` that are named by it and a number."""
    number = 1
    while (name := f"{modality}_{number}") in model.extras:
        yield model.extras[name]
        number += 1
