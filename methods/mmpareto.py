"""MMPareto: the fused and the unimodal gradient of an encoder meet at a Pareto point where they conflict."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import OfficialCode, Reference
from mcr_bench.methods.terms.objectives.encoder_wise import SMALLEST, EncoderWise, min_norm_share


def pareto_share(fused: Tensor, own: Tensor) -> Tensor:
    """The weight k_0 () of the fused loss's gradient (n,) beside the own loss's, whose weight is 1 - k_0.

    It is 1/2 where the gradients do not conflict (g_0 g_1 > 0), else that of the shortest vector between them; beside a
    gradient of zero it is 0.999 (g_0) or 0.001 (g_1).

    >>> one, other = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0])
    >>> pareto_share(one, other), pareto_share(one, one), pareto_share(one, 0 * one)
    (tensor(0.6000), tensor(0.5000), tensor(0.0010))
    """
    inner = fused.dot(own)
    share = torch.where(inner >= own.dot(own), 0.001, min_norm_share(fused, own))
    share = torch.where(inner >= fused.dot(fused), 0.999, share)
    return torch.where(inner > 0, 0.5, share)


def lengthened(gradient: Tensor, plain: Tensor, gamma: float, sizes: list[int]) -> Tensor:
    """The gradient (n,), each parameter's part of it times gamma max(1, |part of the plain sum| / |part|).

    plain: the sum of the gradients, (n,). sizes: the numbers of elements of the parameters, whose sum is n.

    >>> lengthened(torch.tensor([3.0, 1.0]), torch.tensor([6.0, 0.5]), 1.5, [1, 1])
    tensor([9.0000, 1.5000])
    """
    parts = gradient.split(sizes)
    lengths, wanted = (torch.stack(torch._foreach_norm(x)) for x in (parts, plain.split(sizes)))
    factors = gamma * torch.where(lengths > SMALLEST, wanted / lengths, 1.0).clamp(min=1)
    return torch.cat(torch._foreach_mul(parts, factors.unbind()))


@dataclass
class MMPareto(EncoderWise):
    """Minimise L = CE(z, y) and L_m = CE(h_m, y); encoder m gets n_m, the heads the plain gradient of L + sum_m L_m.

    With g_0 and g_1, the gradients of L and of L_m with respect to encoder m: n_m = 2 k_0 g_0 + 2 (1 - k_0) g_1, where
    k_0 = 1/2 if g_0 g_1 > 0, else k_0 = (g_1 g_1 - g_0 g_1) / |g_0 - g_1|^2 (the shortest vector between them). Then
    each parameter's part of n_m is multiplied by gamma max(1, |g_0 + g_1| / |n_m|), norms of that part.
    """

    gamma: float = setting(
        1.5,
        "factor of the encoders' gradients after rescaling",
        origin="MMPareto code",
        at_least=0,
        space=Space(0.5, 3, log=True),
    )
    name = "mmpareto"
    title = "MMPareto"
    selections = ("table1", "primary")
    reference = Reference(
        "MMPareto: Boosting Multimodal Learning with Innocent Unimodal Assistance", "ICML 2024", "2405.17730"
    )
    official_code = OfficialCode("github.com/GeWu-Lab/MMPareto_ICML2024")
    scales_gradients = True
    without_neutral = "with gamma = 1 it equals multi-loss only in steps in which no encoder's gradients conflict"
    deviations = (
        "Two backward passes give the gradients: an own loss reaches only its encoder. Official code: four passes.",
        "The learning rate follows the schedule of the run. Official code: constant, as its schedule never advances.",
        "The epoch is selected on validation data. Official code: on test data.",
        "More than two modalities: each encoder has the same two objectives, an extension.",
        "In a regression L and L_m are the losses of the task, an extension. The paper defines classification.",
    )

    def combine(self, modality: str, gradients: Tensor, sizes: list[int]) -> Tensor:
        fused, own = gradients.unbind()
        share = pareto_share(fused, own)
        self.fit.log(f"share/{modality}", share)
        return lengthened(2 * share * fused + 2 * (1 - share) * own, fused + own, self.gamma, sizes)
