"""The loss of a stage of ReconBoost in plain torch, from the words of its description."""

import torch
from torch import Tensor, nn

from mcr_bench.bench.models.multimodal import MultimodalModel
from mcr_bench.datasets.base import Batch


def stage_loss(
    model: MultimodalModel,
    batch: Batch,
    turns: list[str],
    stage: int,
    weights: tuple[float, float, float],
    official: bool,
) -> Tensor:
    """The loss () of the modality whose turn it is; weights: w1, w2 and alpha. official: nothing flows back to p_m."""
    w1, w2, alpha = weights
    learner, before = turns[stage % len(turns)], turns[(stage - 1) % len(turns)]
    z, scale = _scores(model, batch)
    q = torch.softmax(scale * torch.stack([z[m] for m in turns if m != learner]).sum(0), dim=1).detach()
    log_p = torch.log_softmax(z[learner], dim=1)
    truth = nn.functional.one_hot(batch.target, z[learner].shape[1]).to(log_p)
    boosting = (-w1 * truth * log_p + w2 * truth * q * log_p).mean(-1).mean()
    if stage == 0:
        return boosting
    p = log_p.exp().detach() if official else log_p.exp()
    return boosting + alpha * nn.functional.mse_loss(p, torch.softmax(z[before], dim=1).detach())


def _scores(model: MultimodalModel, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
    """Modality -> its logits, by the shared head and by the additive head, and the scale of their sum."""
    weights = dict(model.fusion.named_parameters())
    features = {m: model.encode_one(m, batch.inputs.values[m]) for m in model.modalities}
    if "scale" in weights:
        hidden = {m: (f @ weights["head.0.weight"].T + weights["head.0.bias"]).relu() for m, f in features.items()}
        return {m: h @ weights["head.2.weight"].T + weights["head.2.bias"] for m, h in hidden.items()}, weights["scale"]
    share = weights["bias"] / len(features)
    return {m: f @ weights[f"slices.{m}.weight"].T + share for m, f in features.items()}, torch.ones(())
