"""PDF: late fusion by how probable each modality's own net expects the true class to be."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mcr_bench.bench.core.precision import full_precision, promoted
from mcr_bench.bench.fit import Batch, Inputs, MultimodalModel, Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Defect, Needs, OfficialCode, Reference
from mcr_bench.methods.terms.fusing import fused_late
from mcr_bench.methods.terms.losses import loss_mean, multi_loss, stacked
from mcr_bench.methods.terms.variants import WithVariants

SMALLEST = 1e-8  # denominators are at least this far from 0


def fusion_weights(confidence: Tensor, calibration: Tensor | None = None, kept: Tensor | None = None) -> Tensor:
    """The weight of each modality, (M, B), which sum to 1 for each sample.

    They are softmax_m((c_m + h_m) r_m), where c_m = sigmoid of `confidence` (M, B) is what a modality expects of the
    true class, h_m = log prod_{j != m} c_j / log prod_j c_j, and r_m is its `calibration` (M, B), or 1.

    kept: (M, B) bool, the modalities that each sample has; the others have no weight. None: all.

    >>> fusion_weights(torch.tensor([[0.0], [0.0]])).flatten()
    tensor([0.5000, 0.5000])
    """
    logs = F.logsigmoid(confidence)
    if kept is not None:
        kept = kept | ~kept.any(0)
        logs = torch.where(kept, logs, 0.0)
    whole = logs.sum(0)
    scores = confidence.sigmoid() + (whole - logs) / whole.clamp(max=-SMALLEST)
    scores = scores if calibration is None else scores * calibration
    return (scores if kept is None else scores.masked_fill(~kept, -torch.inf)).softmax(0)


def relative_calibration(logits: Tensor, kept: Tensor | None = None) -> Tensor:
    """min(1, u_m / mean_{j != m} u_j), (M, B), of logits (M, B, C), where u_m = mean_c |softmax(z_m)_c - 1 / C|.

    kept: (M, B) bool, the modalities that each sample has; it is 1 where there is no other one. None: all.

    >>> relative_calibration(torch.tensor([[[0.0, 0.0]], [[1.0, 0.0]]])).flatten()
    tensor([0., 1.])
    """
    from_even = (logits.softmax(-1) - 1 / logits.shape[-1]).abs().mean(-1)
    counted = torch.ones_like(from_even) if kept is None else kept.to(from_even)
    others = (from_even * counted).sum(0) - from_even * counted
    number = counted.sum(0) - counted
    return torch.where(number > 0, (from_even * number / others.clamp(min=SMALLEST)).clamp(max=1), 1.0)


class ConfidenceNet(nn.Module):
    """Features (B, d) -> a number (B,) whose sigmoid is the expected probability of the true class.

    Three layers of widths 2 d, d and 1, with ReLU between them. linear: without, which makes them one linear layer.
    """

    def __init__(self, width: int, linear: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.last, self.linear = nn.Linear(width, 1), linear

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, d) -> (B,); no gradient goes to the features."""
        hidden = promoted(features.detach())
        with full_precision(hidden.device):
            for layer in (self.first, self.second):
                hidden = layer(hidden) if self.linear else layer(hidden).relu()
            made: Tensor = self.last(hidden)[:, 0]
        return made


@dataclass
class PredictiveDynamicFusion(WithVariants):
    """Minimise CE(z, y) + sum_m CE(h_m, y) + weight sum_m mean_i |c_m - p_m(y)|, z = sum_m sg(w_m) h_m of own heads.

    c_m in (0, 1) is what a net of modality m expects of the true class, from sg(f_m); p_m = softmax(h_m), without
    gradient. The weights w_m = softmax_m(c_m + log prod_{j != m} c_j / log prod_j c_j) are `fusion_weights`; in
    prediction their arguments are multiplied by the `relative_calibration` of the modality. sg: without gradient.
    """

    weight: float = setting(
        1.0, "weight of the nets' error", origin="PDF code", at_least=0, space=Space(0.01, 10, log=True)
    )
    name = "predictive-dynamic-fusion"
    title = "PDF"
    group = "architecture"
    reference = Reference("Predictive Dynamic Fusion", "ICML 2024", "2406.04802")
    official_code = OfficialCode("github.com/Yinan-Xia/PDF", "8648674")
    defects = (
        Defect(
            "src/models/latefusion_pdf.py:23-34",
            "Each net is three linear layers with nothing between them, so one linear map before the sigmoid; that of "
            "the images has 151 million weights.",
            "The net that predicts the true class's probability has non-linear layers.",
        ),
    )
    published = "official"
    needs = Needs(own_heads=True, classification=True, at_least=2)
    without_neutral = "With weight 0 the nets stay as they were drawn, and weight the modalities still."
    predicts_otherwise = "the relative calibration changes the weights in prediction only"
    deviations = (
        "The calibration of each of more than two modalities is relative to the mean of the others. The paper and the "
        "official code have two modalities.",
        "Validation predicts as the test does, with the calibration. Official code: train_pdf.py evaluates with the "
        "weights of training.",
        "The logarithm of all expectations' product is at most -1e-8. Official code: 1e-8 is added to it, with which "
        "it may be 0.",
        "A modality that a sample lacks has no weight, and its net learns nothing of it. In the paper none is lacking.",
        "The nets expect the sample's class, also where the data says what is true of a modality alone.",
        "Weight decay is that of the run for all parameters. Official code: of the first layer of the text net alone.",
    )

    def build(self, model: MultimodalModel) -> None:
        model.extras["confidence"] = nn.ModuleDict(
            {m: ConfidenceNet(model.width, self.official) for m in model.modalities}
        )

    def confidence(self, outputs: Outputs) -> Tensor:
        """What the nets expect of the true class, (M, B), before the sigmoid."""
        nets = dict(outputs.model.extras["confidence"].named_children())
        return torch.stack([nets[m](f) for m, f in outputs.features.items()])

    def forward(self, batch: Batch) -> Outputs:
        outputs = super().forward(batch)
        with torch.no_grad():
            kept = stacked(list(outputs.features), batch.having)
            weights = fusion_weights(self.confidence(outputs), kept=kept)
        self.fit.log_each([f"weight/{m}" for m in outputs.features], weights.mean(1))
        return fused_late(outputs, weights, batch.having)

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        outputs = super().predict(model, inputs)
        kept = stacked(list(outputs.features), inputs.present)
        calibration = relative_calibration(promoted(torch.stack(list(outputs.own_logits.values()))), kept)
        return fused_late(outputs, fusion_weights(self.confidence(outputs), calibration, kept), inputs.present)

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        own, having = outputs.own_logits, batch.having
        terms = multi_loss(self.fit.task, outputs, batch.target, having=having, own=batch.own)
        logits = promoted(torch.stack(list(own.values()))).detach()
        errors = (self.confidence(outputs).sigmoid() - self.fit.task.true_score(logits, batch.target)).abs()
        for m, error in zip(own, errors.unbind(), strict=True):
            terms[f"confidence/{m}"] = self.weight * loss_mean(error, having.get(m))
        return terms
