"""What evaluating a part of the data gives: predictions, features and metrics."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Evaluation:
    """Predictions and metrics on the N samples of a part of the data, in the order of the part.

    Predictions are float32. Those of a regression are in the user's unit, and float64 where another unit is learned.

    logits: the method's prediction, (N, C) for the C outputs of the task; (N, 1) for a regression of one score.
    features: modality -> what its encoder gives, (N, d).
    modality_logits: modality -> the prediction (N, C) from it alone, by its own head or a probe head.
    split_logits: modality -> its share (N, C) of the logits of an additive fusion head; None for other heads.
    target: the labels, (N,) or (N, L), in the user's unit.
    metrics: name -> value.
    missing: metric -> why it is missing; the logits that it would be computed from are left out as well.
    """

    logits: Tensor
    features: dict[str, Tensor]
    modality_logits: dict[str, Tensor]
    split_logits: dict[str, Tensor] | None
    target: Tensor
    metrics: dict[str, float]
    missing: dict[str, str] = field(default_factory=dict)
