"""Unimodal pre-training, fine-tuned: encoders start from the unimodal runs, and everything is trained jointly."""

from dataclasses import dataclass

from mcr_bench.methods.base import Method, Needs, Reference, Requirement
from mcr_bench.methods.terms.unimodal_start import start_from_unimodal, unimodal_runs


@dataclass
class UniPreFinetuned(Method):
    """Minimise L = CE(z, y) over encoders and fusion head; the encoders start from the weights of the unimodal runs."""

    name = "uni-pre-finetuned"
    title = "Unimodal pre-training, fine-tuned"
    group = "baseline"
    selections = ("table1",)
    role = "reference"
    reference = Reference("Joint training from encoders trained on one modality each", "baseline")
    needs = Needs(at_least=2)

    def requires(self, modalities: tuple[str, ...]) -> list[Requirement]:
        return unimodal_runs(modalities)

    def on_fit_start(self) -> None:
        start_from_unimodal(self.fit)
