"""Unimodal pre-training, frozen: only a fusion head is trained on the encoders of the unimodal runs."""

from dataclasses import dataclass
from typing import ClassVar

from mcr_bench.bench.models.multimodal import MultimodalModel, Outputs
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Method, Needs, Reference, Requirement
from mcr_bench.methods.terms.unimodal_start import start_from_unimodal, unimodal_runs


@dataclass
class UniPreFrozen(Method):
    """Minimise CE(z, y) over the fusion head; the unimodal runs' encoders stay as they are, in evaluation mode.

    Their own heads come along and stay valid, because what they read does not change.
    """

    name: ClassVar[str] = "uni-pre-frozen"
    role = "reference"
    reference: ClassVar[Reference] = Reference(
        "A fusion head on frozen encoders trained on one modality each", "baseline"
    )
    needs: ClassVar[Needs] = Needs(own_heads=True, at_least=2)
    deviations: ClassVar[tuple[str, ...]] = (
        "encoders in evaluation mode; the MCR code leaves them in training mode: dropout draws, and batch norm takes "
        "the statistics of the batch, its running ones untouched (track_running_stats=False)",
    )

    def requires(self, modalities: tuple[str, ...]) -> list[Requirement]:
        return unimodal_runs(modalities)

    def build(self, model: MultimodalModel) -> None:
        model.encoders.requires_grad_(False)
        model.own_heads.requires_grad_(False)

    def on_fit_start(self) -> None:
        start_from_unimodal(self.fit)

    def own_weight(self) -> float:
        """0: the own heads are not trained here."""
        return 0.0

    def forward(self, batch: Batch) -> Outputs:
        self._still()
        return super().forward(batch)

    def _still(self) -> None:
        """Evaluation mode again after a `model.train()`; at each step, as a resumed epoch begins in its middle."""
        if self.fit.model.encoders.training:
            self.fit.model.encoders.eval()
