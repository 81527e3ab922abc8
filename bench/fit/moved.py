"""How far training steps move the weights of each encoder, which is what an optimiser has made of the gradients."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import ceil, sqrt
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mcr_bench.bench.core.guard import attempt
from mcr_bench.bench.models.multimodal import MultimodalModel

MOST = 2**22  # weights of an encoder that are compared; of a larger encoder every k-th slice of each tensor is
RATIO, PER_GRADIENT = "update_ratio", "update_per_gradient"

Place = tuple[str, str]  # modality, and which of its norms: moved, size or asked


class _Watched(NamedTuple):
    """A parameter that is watched.

    modality: the encoder's modality.
    parameter: the parameter.
    every: the distance of its slices that are compared.
    """

    modality: str
    parameter: nn.Parameter
    every: int

    def slices(self, tensor: Tensor) -> Tensor:
        """What is compared of a tensor of the parameter's shape."""
        return tensor.detach()[:: self.every] if self.every > 1 and tensor.ndim else tensor.detach()


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
        self._steps: list[tuple[list[Place], Tensor]] = []

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
        sums: dict[Place, float] = {}
        for places, norms in self._steps:
            for place, norm in _of_step(places, norms.tolist()).items():
                sums[place] = sums.get(place, 0.0) + norm
        self._steps.clear()
        self._watched = []
        below = ((RATIO, "size"), (PER_GRADIENT, "asked"))
        parts = {
            f"{name}/{m}": (sums[m, "moved"], total) for name, of in below for (m, k), total in sums.items() if k == of
        }
        return {name: moved / total for name, (moved, total) in parts.items() if total > 0.0}

    @torch.no_grad()
    def _copies(self, model: MultimodalModel) -> list[Tensor]:
        if not self._watched:
            self._watched = _watched(model)
        return [one.slices(one.parameter).clone() for one in self._watched]

    @torch.no_grad()
    def _add(self, before: list[Tensor], optimizer: Optimizer) -> None:
        now = [one.slices(one.parameter) for one in self._watched]
        norms = [*torch._foreach_norm(torch._foreach_sub(now, before)), *torch._foreach_norm(before)]
        places = [(one.modality, kind) for kind in ("moved", "size") for one in self._watched]
        rates = {id(p): float(group["lr"]) for group in optimizer.param_groups for p in group["params"]}
        asking = [one for one in self._watched if one.parameter.grad is not None and id(one.parameter) in rates]
        if asking:
            gradients = torch._foreach_norm([one.slices(one.parameter.grad) for one in asking])
            norms += torch._foreach_mul(gradients, [rates[id(one.parameter)] for one in asking])
            places += [(one.modality, "asked") for one in asking]
        self._steps.append((places, torch.stack(norms)))

    def _fail(self, reason: str) -> None:
        self.failure = reason
        self._steps.clear()


def _watched(model: MultimodalModel) -> list[_Watched]:
    watched = []
    for m in model.modalities:
        own = model.parameters_of(m, "encoder")
        every = max(1, ceil(sum(p.numel() for p in own) / MOST))
        watched += [_Watched(m, p, every) for p in own]
    return watched


def _of_step(places: list[Place], norms: list[float]) -> dict[Place, float]:
    """The norm over all tensors of each place, from the norms of single tensors."""
    squares: dict[Place, float] = {}
    for place, norm in zip(places, norms, strict=True):
        squares[place] = squares.get(place, 0.0) + norm * norm
    return {place: sqrt(square) for place, square in squares.items()}
