"""How far training steps move the weights of each encoder, which is what an optimiser has made of the gradients."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mcr_bench.bench.core.guard import attempt
from mcr_bench.bench.models.multimodal import MultimodalModel

MOST = 2**22  # weights of an encoder that are compared, about: of a larger one, the first slices of each tensor are
RATIO, PER_GRADIENT = "update_ratio", "update_per_gradient"


class _Watched(NamedTuple):
    """An encoder that is watched.

    modality: its modality.
    parameters: its parameters.
    share: the share of the slices of each that are compared, the first ones.
    """

    modality: str
    parameters: list[nn.Parameter]
    share: float

    def weights(self) -> list[Tensor]:
        """What is compared of each parameter."""
        return [self._first(p) for p in self.parameters]

    def asked(self, rates: Mapping[int, float]) -> Tensor | None:
        """The norm () of its gradients, each times its learning rate; None where it has none.

        rates: id of a parameter -> its learning rate in the optimiser.
        """
        known = [(p.grad, rates[id(p)]) for p in self.parameters if p.grad is not None and id(p) in rates]
        if not known:
            return None
        norms = torch._foreach_norm([self._first(g) for g, _ in known])
        joined: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_mul(norms, [rate for _, rate in known])))
        return joined

    def _first(self, tensor: Tensor) -> Tensor:
        values = tensor.detach()
        return values[: max(1, round(self.share * len(values)))] if self.share < 1 and values.ndim else values


def _norm(tensors: list[Tensor]) -> Tensor:
    """The norm () of all values of some tensors, in a few kernels however many there are."""
    joined: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)))
    return joined


class Movements:
    """For each encoder, how far steps move its weights: relative to the weights, and to what the gradients ask for.

    With Delta the change of the weights w in one step, g the gradient that the optimiser got (scaled and clipped) and
    lr its learning rate, sums being over the watched steps:

        update_ratio = sum |Delta| / sum |w|        update_per_gradient = sum |Delta| / sum (lr |g|)

    The second is 1 for plain gradient descent, whatever a method multiplies gradients by. Under Adam, which divides by
    the size of past gradients, a gradient that is always scaled by 1.6 moves weights as far as before, so that
    update_per_gradient becomes 1 / 1.6 of what it was.

    failure: why nothing is measured any more in this run; empty where all is well.
    """

    def __init__(self) -> None:
        self.failure = ""
        self._watched: list[_Watched] = []  # collected once per epoch, as a walk takes time
        self._steps: list[tuple[list[tuple[str, str]], Tensor]] = []  # (modality, which norm) of each number

    @contextmanager
    def watching(self, model: MultimodalModel, optimizer: Optimizer) -> Iterator[None]:
        """Inside the block one training step is made. Nothing waits for the device, and no error is raised."""
        before = None if self.failure else attempt(partial(self._copies, model), self._fail)
        yield
        if before:
            attempt(partial(self._add, before, optimizer), self._fail)

    def ratios(self) -> dict[str, float]:
        """`update_ratio/MODALITY` and `update_per_gradient/MODALITY` of the steps since the last call.

        This waits for the device. A ratio to zero, such as to the gradient of a frozen encoder, is left out.
        """
        sums: dict[tuple[str, str], float] = {}
        for names, norms in self._steps:
            for name, norm in zip(names, norms.tolist(), strict=True):
                sums[name] = sums.get(name, 0.0) + norm
        self._steps.clear()
        self._watched = []
        below = {"size": RATIO, "asked": PER_GRADIENT}
        parts = {(below[kind], m): (sums[m, "moved"], total) for (m, kind), total in sums.items() if kind in below}
        return {f"{name}/{m}": moved / total for (name, m), (moved, total) in parts.items() if total > 0.0}

    @torch.no_grad()
    def _copies(self, model: MultimodalModel) -> list[list[Tensor]]:
        if not self._watched:
            self._watched = _watched(model)
        return [list(torch._foreach_mul(one.weights(), 1)) for one in self._watched]

    @torch.no_grad()
    def _add(self, before: list[list[Tensor]], optimizer: Optimizer) -> None:
        rates = {id(p): float(group["lr"]) for group in optimizer.param_groups for p in group["params"]}
        norms: dict[tuple[str, str], Tensor] = {}
        for one, weights in zip(self._watched, before, strict=True):
            norms[one.modality, "moved"] = _norm(list(torch._foreach_sub(one.weights(), weights)))
            norms[one.modality, "size"] = _norm(weights)
            if (asked := one.asked(rates)) is not None:
                norms[one.modality, "asked"] = asked
        self._steps.append((list(norms), torch.stack(list(norms.values()))))

    def _fail(self, reason: str) -> None:
        self.failure = reason
        self._steps.clear()


def _watched(model: MultimodalModel) -> list[_Watched]:
    encoders = {m: model.parameters_of(m, "encoder") for m in model.modalities}
    sizes = {m: sum(p.numel() for p in own) for m, own in encoders.items()}
    return [_Watched(m, own, min(1.0, MOST / max(1, sizes[m]))) for m, own in encoders.items() if own]
