"""What takes the place of a modality that is dropped for some samples of a batch: zeros, or a mean of features."""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from mcr_bench.bench.core.precision import promoted
from mcr_bench.bench.models.parts import Asked, Encoded, Stages, Tokens, own_steps

Fill = Literal["zero", "mean"]
Flags = Mapping[str, Tensor]  # modality -> (B,) bool


def without(
    features: dict[str, Tensor], dropped: Flags, fill: Fill = "zero", present: Flags | None = None
) -> dict[str, Tensor]:
    """Features (B, d) by modality, with those replaced that `dropped` names; tokens and stages go the same way.

    dropped: (B,) bool each. What is replaced passes no gradient back: that of its encoder is zero, not missing.
    fill: zero, or mean: the mean over the other samples of the batch that have the modality, dropped or not, and zero
        where there is no other one. This mean knows nothing of the sample itself, exists when the whole batch is
        dropped, and needs no state that a checkpoint would have to hold.
    present: the samples that have each modality; all of them where it does not say.

    >>> features = {"audio": torch.tensor([[1.0], [2.0], [6.0]])}
    >>> without(features, {"audio": torch.tensor([True, False, False])}, "mean")
    {'audio': tensor([[4.],
            [2.],
            [6.]])}
    """
    if not dropped:
        return features

    def replaced(m: str, x: Tensor, real: Tensor | None = None) -> Tensor:
        return x if m not in dropped else _replaced(x, dropped[m], fill, _counted(x, (present or {}).get(m), real))

    made = {m: replaced(m, x) for m, x in features.items()}
    if not isinstance(features, Encoded):
        return made
    return Encoded(made, _tokens(features.tokens, dropped, replaced), _stages(features.stages, dropped, replaced))


def _tokens(tokens: Asked[Tokens], dropped: Flags, replaced: Callable[..., Tensor]) -> Asked[Tokens]:
    """Tokens (B, T, d) are replaced place by place, padded ones not counted; their masks (B, T) stay."""

    def change(m: str, made: Tokens) -> Tokens:
        return replaced(m, made[0], made[1]), made[1]

    return tokens.changed(change, dropped)


def _stages(stages: Asked[list[Tensor]], dropped: Flags, replaced: Callable[..., Tensor]) -> Asked[list[Tensor]]:
    return stages.changed(lambda m, made: Stages([replaced(m, x) for x in made], own_steps(made)), dropped)


def _counted(x: Tensor, present: Tensor | None, real: Tensor | None) -> Tensor:
    """How much each entry counts in a mean over the batch: 1, or 0 where it is absent or padded; shaped to fit x."""
    weight = torch.ones(len(x), dtype=torch.bool, device=x.device) if present is None else present
    if real is None:
        return weight.reshape(-1, *[1] * (x.ndim - 1))
    return (weight[:, None] & real)[..., None]


def _replaced(x: Tensor, dropped: Tensor, fill: Fill, counted: Tensor) -> Tensor:
    at = dropped.reshape(-1, *[1] * (x.ndim - 1))
    return torch.where(at, torch.zeros_like(x) if fill == "zero" else _mean_of_others(x.detach(), counted), x)


def _mean_of_others(x: Tensor, counted: Tensor) -> Tensor:
    """For each sample of x (B, ...) the mean of the others that count; 0 where there is none."""
    kept = torch.where(counted, promoted(x), 0.0)
    number = counted.sum(0, keepdim=True) - counted.long()
    return ((kept.sum(0, keepdim=True) - kept) / number.clamp(min=1) * (number > 0)).to(x)
