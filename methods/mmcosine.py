"""MMCosine: logits are scaled cosines between features and class weights, so that no modality has the larger ones."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import normalize

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit import MultimodalModel
from mcr_bench.bench.models.fusion import Fused, Fusion, sum_of
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Method, Needs, OfficialCode, Reference

SMALLEST = 1e-6  # a shorter vector is divided by this instead of its length, so that gradients stay finite


def cosine_logits(features: Tensor, weight: Tensor, scale: float) -> Tensor:
    """Logits (B, C): the cosines between features (B, d) and the class weights (C, d), times the scale.

    >>> import torch
    >>> cosine_logits(torch.tensor([[3.0, 4.0]]), torch.tensor([[2.0, 0.0], [0.0, 9.0]]), scale=10.0)
    tensor([[6., 8.]])
    """
    return scale * normalize(features, dim=1, eps=SMALLEST) @ normalize(weight, dim=1, eps=SMALLEST).T


class CosineFusion(Fusion):
    """z = s sum_m cos(f_m, W_m), with the linear layers of a late linear head as `slices`."""

    additive = True

    def __init__(self, slices: nn.ModuleDict, scale: float) -> None:
        super().__init__()
        self.slices, self.scale = slices, scale

    def forward(self, features: dict[str, Tensor]) -> Fused:
        """Features (B, d) of every modality -> logits (B, C) and branch logits (B, C) between -s and s."""
        weights = {m: layer.get_parameter("weight") for m, layer in self.slices.items()}
        branches = {m: cosine_logits(features[m], weight, self.scale) for m, weight in weights.items()}
        return Fused(sum_of(branches), branches)


@dataclass
class MMCosine(Method):
    """Minimise L = CE(z, y) with z = sum_m z_m and z_m = s cos(f_m, W_m): a fusion head without norms and bias.

    cos(f_m, W_m) holds the cosines between modality m's features f_m (B, d) and its weights W_m (C, d) of every class.
    Training and prediction use these logits, which lie between -M s and M s.
    """

    scale: float = setting(
        10.0,
        "the scale s of the cosines",
        origin="MMCosine code, CREMA-D",
        at_least=0.001,
        space=Space(1, 50, log=True),
    )
    name = "mmcosine"
    title = "MMCosine"
    group = "architecture"
    selections = ("table1",)
    reference = Reference(
        "MMCosine: Multi-Modal Cosine Loss Towards Balanced Audio-Visual Fine-Grained Learning",
        "ICASSP 2023",
        "2303.05338",
    )
    official_code = OfficialCode("github.com/GeWu-Lab/MMCosine_ICASSP23")
    needs = Needs(additive_fusion=True, classification=True, at_least=2)
    without_neutral = "No scale makes a head without norms and bias give the logits of one with them."
    deviations = (
        "The linear head is replaced by one without a bias. Official code: the head keeps a bias that is never used.",
        "Fusion heads that are not a sum of linear layers are left out. Official code: under gated and FiLM fusion it "
        "takes the cosines of the two features with slices of the last layer all the same.",
        "There is no contrastive term. Official code: an optional one, with weight 0 by default.",
        "Vectors shorter than 1e-6 are divided by 1e-6.",
        "Scores are left out: the length of the weights, which a regression scales its outputs with, is normalised "
        "away.",
    )

    def build(self, model: MultimodalModel) -> None:
        slices = getattr(model.fusion, "slices", nn.ModuleDict())
        linear = {m for m, layer in slices.items() if isinstance(layer, nn.Linear)}
        if not model.fusion.additive or linear != set(model.modalities):
            raise UserError(
                "mmcosine needs an additive fusion head with one linear layer per modality. Use "
                "model.fusion=late-linear."
            )
        model.fusion = CosineFusion(slices, self.scale)
