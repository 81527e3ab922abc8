"""Tensor fusion: the outer product of all modalities' features (Zadeh et al., 2017)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from math import prod

import torch
from torch import Tensor, nn

from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.models.declared import FusionKind, Values, as_settings
from mcr_bench.bench.models.fusion import Fused, Fusion, draw_bias, sum_of
from mcr_bench.bench.settings.declaration import declared, setting

MOST = 500_000  # numbers of the tensor: the paper's has 129 x 33 x 33 = 140,481, three modalities of 64 have 274,625
NAME = "tensor-fusion"


@dataclass(frozen=True)
class TensorSettings:
    """The settings of tensor fusion, `model.*`."""

    projection: str = setting(
        "",
        "width to which features are projected before the product: one number, or one for each modality as "
        "'audio=16;video=8'; empty: features are taken as they are",
    )
    hidden: int = setting(128, "width of the two hidden layers after the product", origin="TFN paper", at_least=1)


class TensorFusion(Fusion):
    """z = W relu(V relu(U vec([g_1; 1] x ... x [g_M; 1]) + c) + e) + b, g_m = f_m or A_m f_m + a_m (sec. 4.2, 4.3).

    U is held region by region, as the paper divides the tensor: one linear layer for every set of modalities, on the
    outer product of their features. Those on a single modality are its slice, together with its projection; the entry
    1 x ... x 1 is the bias c. The tensor has prod_m (p_m + 1) numbers per sample, p_m being the width of g_m.

    widths: modality -> (width d of the features, p_m, whether it is projected).
    """

    def __init__(self, widths: Mapping[str, tuple[int, int, bool]], hidden: int, outputs: int) -> None:
        super().__init__()
        self.names, self.size = sorted(widths), prod(p + 1 for _, p, _ in widths.values())
        self.slices = nn.ModuleDict({m: OfOne(*widths[m], hidden) for m in self.names})
        self.regions = nn.ModuleDict(
            {"+".join(s): nn.Linear(prod(widths[m][1] for m in s), hidden, bias=False) for s in joint_sets(self.names)}
        )
        self.hidden_bias = nn.Parameter(torch.empty(hidden))
        self.second, self.output = nn.Linear(hidden, hidden), nn.Linear(hidden, outputs)

    def reset_parameters(self) -> None:
        """The bias of the first layer as that of the second, whatever the number of modalities."""
        draw_bias(self.hidden_bias, len(self.hidden_bias))

    def forward(self, features: dict[str, Tensor]) -> Fused:
        """Features (B, d) of every modality -> logits (B, C)."""
        both = {m: self.slices[m](features[m]) for m in self.names}
        parts, alone = ({m: given[place] for m, given in both.items()} for place in (0, 1))
        together = {
            "+".join(s): self.regions["+".join(s)](outer([parts[m] for m in s])) for s in joint_sets(self.names)
        }
        hidden = (sum_of({**alone, **together}) + self.hidden_bias).relu()
        return Fused(self.output(self.second(hidden).relu()), None)


class OfOne(nn.Module):
    """What belongs to one modality: its projection, if any, and its own region of the tensor."""

    def __init__(self, width: int, projected: int, projects: bool, hidden: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, projected) if projects else nn.Identity()
        self.weigh = nn.Linear(projected, hidden, bias=False)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, d) -> what enters the product (B, p), and the modality's own region's share (B, H)."""
        part = self.project(features)
        return part, self.weigh(part)


def joint_sets(names: list[str]) -> list[tuple[str, ...]]:
    """All sets of two and more of the modalities, the smaller ones first.

    >>> joint_sets(["a", "b", "c"])
    [('a', 'b'), ('a', 'c'), ('b', 'c'), ('a', 'b', 'c')]
    """
    return [s for count in range(2, len(names) + 1) for s in combinations(names, count)]


def outer(parts: Iterable[Tensor]) -> Tensor:
    """The outer product of vectors (B, p_1), (B, p_2), ... of each sample, flattened to (B, p_1 p_2 ...).

    >>> outer([torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 5.0]])])
    tensor([[ 3.,  5.,  6., 10.]])
    """
    return reduce(lambda a, b: (a[:, :, None] * b[:, None]).flatten(1), parts)


def projections(text: str, modalities: list[str], width: int) -> dict[str, tuple[int, int, bool]]:
    """Modality -> (`width`, the width after projection, whether it is projected), as `model.projection` says.

    >>> projections("b=2", ["a", "b"], 6)
    {'a': (6, 6, False), 'b': (6, 2, True)}
    """
    chosen = dict.fromkeys(modalities, text) if text.strip().isdigit() else {}
    for item in filter(None, (part.strip() for part in text.split(";"))) if not chosen else ():
        name, _, number = (part.strip() for part in item.partition("="))
        if name not in modalities:
            raise unknown("modality in model.projection", name, modalities)
        chosen[name] = number
    if not all(number.strip().isdigit() and int(number) for number in chosen.values()):
        raise UserError(
            f"model.projection={text}: not allowed. Allowed: a whole number >= 1 for all modalities, such as 16, or "
            f"one for each, such as '{';'.join(f'{m}=16' for m in modalities)}'."
        )
    return {m: (width, int(chosen.get(m, width)), m in chosen) for m in modalities}


def require_size(widths: Mapping[str, tuple[int, int, bool]], hidden: int) -> None:
    """UserError where the tensor has more than `MOST` numbers per sample, with what it needs and what would do."""
    size = prod(p + 1 for _, p, _ in widths.values())
    if size <= MOST:
        return
    most = next((p for p in range(max(p for _, p, _ in widths.values()), 0, -1) if (p + 1) ** len(widths) <= MOST), 0)
    fits = f"model.projection={most} (or less), or another head" if most else "another head, or fewer modalities"
    product = " x ".join(str(p + 1) for _, p, _ in widths.values())
    raise UserError(
        f"model.fusion={NAME}: the outer product of {len(widths)} modalities has {product} = {size:,} numbers per "
        f"sample, and its layer {size * hidden:,} weights; at most {MOST:,} numbers are allowed. Use {fits}."
    )


def make(modalities: list[str], width: int, outputs: int, values: Values) -> TensorFusion:
    """The head; UserError where the outer product is too large."""
    settings = as_settings(TensorSettings, values)
    widths = projections(settings.projection, modalities, width)
    require_size(widths, settings.hidden)
    return TensorFusion(widths, settings.hidden, outputs)


KIND = FusionKind(
    name=NAME,
    about="a network over the outer product of all features, which has (d + 1)^M numbers per sample (TFN)",
    make=make,
    reference="Tensor Fusion Network for Multimodal Sentiment Analysis (EMNLP 2017, arXiv 1707.07250), "
    "the layers of sections 4.2 and 4.3",
    deviations=(
        "The encoders are those of the run. Reference: an LSTM for text, networks of three layers for sound and video, "
        "of 128, 32 and 32 features (`projection`).",
        "The first layer is drawn region by region, each as a linear layer of its own, so that weights on one modality "
        "are drawn alike whatever is beside it. Reference: one layer over the whole tensor.",
        "Logits are the output of a linear layer. Reference: a sigmoid scaled to [-3, 3] for sentiment.",
        "No dropout. Reference: dropout on the tensor.",
    ),
    settings=declared(TensorSettings),
    at_least=2,
)
