"""Means over an epoch, which are kept on the device: losses, coefficients, gradient norms, encoder passes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import SupportsFloat

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.multimodal import MultimodalModel


class Meters:
    """Means by name. Gradient norms and encoder passes are measured on a few steps per epoch only (`watching`).

    >>> meters = Meters()
    >>> meters.add("loss/fused", 2.0)
    >>> meters.add("loss/fused", 4.0)
    >>> meters.means()
    {'loss/fused': 3.0}
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor | float] = {}
        self._counts: dict[str, int] = {}
        self._vectors: dict[tuple[str, ...], tuple[Tensor, int]] = {}
        self._watching = False
        self._norms: dict[str, list[Tensor]] = {}  # modality -> the norms of its encoder's gradients in each step
        self._encoders: dict[str, list[nn.Parameter]] = {}  # collected once per epoch, as a walk takes time

    def add(self, name: str, value: Tensor | float) -> None:
        """Add a number, or a tensor (), to the mean of `name`; this does not wait for the device."""
        value = _exact(value.detach()) if isinstance(value, Tensor) else value
        if (isinstance(value, Tensor) and value.numel() != 1) or not isinstance(value, Tensor | SupportsFloat):
            what = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)[:60]
            raise UserError(f"fit.log('{name}', ...) was given {what}. Give one number: take its mean.")
        self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._counts[name] = self._counts.get(name, 0) + 1

    def add_each(self, names: tuple[str, ...], values: Tensor) -> None:
        """Add each of the values, (n,), to the mean of its name; a name may come more than once."""
        total, count = self._vectors.get(names, (None, 0))
        values = _exact(values.detach())
        self._vectors[names] = (values if total is None else total + values, count + 1)

    def means(self) -> dict[str, float]:
        """The means of what was added since the last call. This waits for the device."""
        for m, steps in self._norms.items():
            self.add(f"gradient_norm/{m}", pad_sequence(steps, batch_first=True).norm(dim=1).mean())
        sums = {name: float(total) for name, total in self._sums.items()}
        counts = dict(self._counts)
        for names, (total, count) in self._vectors.items():
            for name, value in zip(names, total.tolist(), strict=True):
                sums[name] = sums.get(name, 0.0) + value
                counts[name] = counts.get(name, 0) + count
        for kept in (self._sums, self._counts, self._vectors, self._norms, self._encoders):
            kept.clear()
        return {name: total / counts[name] for name, total in sums.items()}

    def gradients(self, model: MultimodalModel) -> None:
        """Add the norm of every modality's encoder gradient, before clipping; nothing outside `watching`."""
        if not self._watching:
            return
        if not self._encoders:
            self._encoders = {m: model.parameters_of(m, "encoder") for m in model.modalities}
        gradients = {m: [p.grad for p in own if p.grad is not None] for m, own in self._encoders.items()}
        every = [g for own in gradients.values() for g in own]
        if not every:
            return
        norms = torch.stack(torch._foreach_norm(every)).split([len(own) for own in gradients.values()])
        for m, of_step in zip(gradients, norms, strict=True):
            if len(of_step):
                self._norms.setdefault(m, []).append(of_step)

    @contextmanager
    def watching(self, model: MultimodalModel, batch_size: int) -> Iterator[None]:
        """Inside the block gradient norms are measured and encoder passes are counted.

        One pass of all samples of a batch through all encoders counts as 1.
        """
        passes = {"forward": 0.0, "backward": 0.0}
        share = 1.0 / (batch_size * len(model.encoders))

        def backward(gradient: Tensor) -> None:
            passes["backward"] += len(gradient) * share

        def watched(made: Tensor) -> None:
            passes["forward"] += len(made) * share
            if made.requires_grad:
                made.register_hook(backward)

        def forward(_module: nn.Module, _inputs: object, features: Tensor) -> None:
            watched(features)

        handles = [encoder.register_forward_hook(forward) for encoder in model.encoders.values()]
        model.watchers.append(watched)
        self._watching = True
        try:
            yield
        finally:
            self._watching = False
            model.watchers.remove(watched)
            for handle in handles:
                handle.remove()
        for name, number in passes.items():
            self.add(f"encoder_passes/{name}", number)


def _exact(values: Tensor) -> Tensor:
    """As float32 where the type has fewer digits: sums in bfloat16 stop growing at 256, and True + True is True."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()
