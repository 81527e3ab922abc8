"""What evaluating a part of the data gives: predictions, features and metrics."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Evaluation:
    """Predictions on a part of the data, in its order, float32; target: (N,) the labels, in the user's unit.

    Predictions of a regression are in the user's unit too, float64 where another one is learned. modality_logits:
    modality -> (N, C), from own heads or probes; split_logits: the same of an additive fusion head. missing: metric ->
    why there is none; the logits that it was to be computed from are left out too.
    """

    logits: Tensor
    features: dict[str, Tensor]
    modality_logits: dict[str, Tensor]
    split_logits: dict[str, Tensor] | None
    target: Tensor
    metrics: dict[str, float]
    missing: dict[str, str] = field(default_factory=dict)
