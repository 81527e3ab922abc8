"""DGL: encoders learn from unimodal losses alone, the fusion head from the fused loss alone."""

from dataclasses import dataclass, replace
from functools import reduce
from operator import add

from torch import Tensor

from mcr_bench.bench.fit import Batch, Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Defect, Needs, OfficialCode, Reference
from mcr_bench.methods.terms.features.alone import logits_alone
from mcr_bench.methods.terms.losses import loss_of
from mcr_bench.methods.terms.variants import WithVariants


@dataclass
class DGL(WithVariants):
    """Two losses for two sets of parameters: alpha sum_m CE(z_m, y) for the encoders, CE(z, y) for the fusion head.

    z = F(sg(f_1), ..., sg(f_M)) of features without gradient, and z_m = F(0, .., f_m, .., 0) from the same fusion head
    F, to whose parameters the unimodal losses pass no gradient. z is predicted.
    """

    alpha: float = setting(
        4.0, "weight of the unimodal losses", origin="DGL code, CREMA-D", at_least=0, space=Space(0.5, 10, log=True)
    )
    name = "dgl"
    title = "DGL"
    group = "modulation"
    reference = Reference("Boosting Multimodal Learning via Disentangled Gradient Learning", "ICCV 2025", "2507.10213")
    official_code = OfficialCode("github.com/shicaiwei123/ICCV2025-GDL", "b72a55f")
    defects = (
        Defect(
            "main_dgl.py:115-119",
            "The filter of parameters takes the second part of the dotted name. Where DataParallel does not wrap the "
            "model, as the released script does, it finds nothing: the fusion head keeps the unimodal gradients.",
            "The fusion head learns from the fused loss alone.",
        ),
    )
    published = "paper"  # the released script has DataParallel
    needs = Needs(own_features=True, at_least=2)
    without_neutral = (
        "With alpha = 0 the encoders are not trained at all, which no simpler method does to encoders that are drawn."
    )
    deviations = (
        "The passes with zeros are made in evaluation mode of the fusion head. Official code: in training mode.",
        "Zeros stand for the other modalities under every fusion head, as in the official code under concatenation. "
        "There a sum takes the modality's own layer alone, and FiLM and gates take the modality twice.",
        "The validation part selects the epoch. Official code: the test part.",
        "Kinetics-Sounds has the classes that its files have. Official code: 34.",
        "Fusion heads that read tokens or stages are left out, as there is no zero for these in the paper.",
    )

    def forward(self, batch: Batch) -> Outputs:
        """Logits (B, C) of features that pass no gradient on; the features themselves, modality -> (B, d), do."""
        model, inputs = self.fit.model, batch.inputs
        features = model.encode(inputs)
        if batch.dropped:
            features = model.drop(features, batch.dropped, present=inputs.present)
        return replace(model.fuse({m: f.detach() for m, f in features.items()}), features=features)

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        task, having = self.fit.task, batch.having
        alone = {
            f"alone/{m}": self.alpha * loss_of(task, z, batch.target, having.get(m))
            for m, z in logits_alone(self.fit.model, outputs.features).items()
        }
        return {"fused": task.loss(outputs.logits, batch.target), **alone}

    def backward(self, losses: dict[str, Tensor]) -> None:
        if self.official:
            super().backward(losses)
            return
        encoders = [p for p in self.fit.model.encoders.parameters() if p.requires_grad]
        fused, *alone = losses.values()
        if encoders:
            reduce(add, alone).backward(inputs=encoders)
        fused.backward()
