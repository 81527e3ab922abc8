"""Means over an epoch, kept on the device: losses, coefficients, gradient norms, encoder passes."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from mcr_bench.bench.models.multimodal import MultimodalModel


class Meters:
    """Running means by name. Gradient norms and encoder passes are taken on a few steps per epoch only (`watching`)."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor | float] = {}
        self._counts: dict[str, int] = {}
        self._watching = False

    def add(self, name: str, value: Tensor | float) -> None:
        value = value.detach() if isinstance(value, Tensor) else value
        self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._counts[name] = self._counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """The means since the last call; this is where the device is waited for."""
        found = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        return found

    def gradients(self, model: MultimodalModel) -> None:
        """Norm of each modality's encoder gradient as the optimiser will see it (before clipping), if watching."""
        if not self._watching:
            return
        for m in model.modalities:
            gradients = [p.grad for p in model.parameters_of(m, "encoder") if p.grad is not None]
            if gradients:
                self.add(f"gradient_norm/{m}", nn.utils.get_total_norm(gradients))

    @contextmanager
    def watching(self, model: MultimodalModel, batch_size: int) -> Iterator[None]:
        """Inside, gradient norms are logged and encoder passes counted, in samples / (batch size x modalities)."""
        passes = {"forward": 0.0, "backward": 0.0}
        share = 1.0 / (batch_size * len(model.encoders))

        def backward(gradient: Tensor) -> None:
            passes["backward"] += len(gradient) * share

        def forward(_module: nn.Module, _inputs: object, features: Tensor) -> None:
            passes["forward"] += len(features) * share
            if features.requires_grad:
                features.register_hook(backward)

        handles = [encoder.register_forward_hook(forward) for encoder in model.encoders.values()]
        self._watching = True
        try:
            yield
        finally:
            self._watching = False
            for handle in handles:
                handle.remove()
        for name, count in passes.items():
            self.add(f"encoder_passes/{name}", count)
