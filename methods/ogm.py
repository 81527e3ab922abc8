"""OGM: scale down the gradient of the encoder that is ahead."""

from dataclasses import dataclass

from mcr_bench.methods.base import Neutral
from mcr_bench.methods.terms.on_the_fly import OnTheFly


@dataclass
class Ogm(OnTheFly):
    """Joint training in which the gradient of modality m's encoder is multiplied by k_m after the backward pass.

    k_m = 1 - tanh(alpha rho_m) if rho_m > 1, otherwise 1, where rho_m = s_m / mean_{j != m} s_j and
    s_m = sum_i softmax(z_m)_{i, y_i} of modality m's share z_m = W_m f_m + b / M of the logits.
    """

    name = "ogm"
    title = "OGM"
    selections = ("table1",)
    neutral = (
        Neutral({"alpha": 0.0}, "joint"),
        Neutral({"alpha": 0.0, "apply_to": "lr"}, "joint"),
    )
