"""Features of samples put together anew: each modality may come from another sample of the batch."""

from collections.abc import Mapping

from torch import Tensor

from mcr_bench.bench.models.parts import Encoded, Stages, Tokens, own_steps


def taken(features: Mapping[str, Tensor], index: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Features (n, d) by modality of the samples `index` (n,); tokens and stages, where there are any, go along.

    features: modality -> (B, d). index: modality -> (n,) int64, the places in the batch that it is taken from.

    >>> import torch
    >>> features = {"audio": torch.tensor([[1.0], [2.0]]), "video": torch.tensor([[3.0], [4.0]])}
    >>> taken(features, {"audio": torch.tensor([0, 1]), "video": torch.tensor([1, 1])})
    {'audio': tensor([[1.],
            [2.]]), 'video': tensor([[4.],
            [4.]])}
    """
    made = {m: f[index[m]] for m, f in features.items()}
    if not isinstance(features, Encoded):
        return made

    def tokens(m: str, parts: Tokens) -> Tokens:
        return parts[0][index[m]], parts[1][index[m]]

    def stages(m: str, parts: list[Tensor]) -> list[Tensor]:
        own = [None if steps is None else steps[index[m]] for steps in own_steps(parts)]
        return Stages([x[index[m]] for x in parts], own)

    return Encoded(made, features.tokens.changed(tokens, index), features.stages.changed(stages, index))
