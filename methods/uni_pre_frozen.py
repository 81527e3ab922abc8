"""Unimodal pre-training, frozen: only a fusion head is trained on the encoders of the unimodal runs."""

from dataclasses import dataclass

from mcr_bench.bench.fit import Batch, MultimodalModel, Outputs
from mcr_bench.methods.base import Method, Needs, Reference, Requirement
from mcr_bench.methods.terms.unimodal_start import start_from_unimodal, unimodal_runs


@dataclass
class UniPreFrozen(Method):
    """Minimise L = CE(z, y) over the fusion head alone; encoders keep the unimodal runs' weights, in evaluation mode.

    The own heads are taken from the unimodal runs as well. They stay valid because the features do not change.
    """

    name = "uni-pre-frozen"
    title = "Unimodal pre-training, frozen"
    group = "baseline"
    selections = ("table1",)
    role = "reference"
    reference = Reference("A fusion head on frozen encoders trained on one modality each", "baseline")
    needs = Needs(own_heads=True, at_least=2)
    deviations = (
        "Encoders are in evaluation mode. The MCR code leaves them in training mode: dropout is active, and batch norm "
        "uses the batch's statistics without updating the running ones (track_running_stats=False).",
    )

    def requires(self, modalities: tuple[str, ...]) -> list[Requirement]:
        return unimodal_runs(modalities)

    def build(self, model: MultimodalModel) -> None:
        model.encoders.requires_grad_(False)
        model.own_heads.requires_grad_(False)

    def on_fit_start(self) -> None:
        start_from_unimodal(self.fit)

    def own_weight(self) -> float:
        """0, because the own heads are not trained."""
        return 0.0

    def forward(self, batch: Batch) -> Outputs:
        self._still()
        return super().forward(batch)

    def _still(self) -> None:
        """Put the encoders back into evaluation mode, which `model.train()` at the start of an epoch has ended."""
        if self.fit.model.encoders.training:
            self.fit.model.encoders.eval()
