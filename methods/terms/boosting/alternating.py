"""Training in which every batch makes one step of the optimiser for each modality, each of which learns alone."""

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from mcr_bench.bench.models.multimodal import MultimodalModel, Outputs
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.terms.boosting.order import InTurns


@dataclass
class Alternating(InTurns):
    """A method whose modalities take turns within each batch: encode m, its loss, backward, a step; then the next one.

    In the turn of a modality only its own parameters and those that all share have gradients, so that momentum and
    weight decay do not move the others. A modality meets shared parameters as the one before has left them.
    """

    @abstractmethod
    def alone(self, model: MultimodalModel, modality: str, features: Tensor, batch: Batch) -> Tensor:
        """The loss () that a modality with features (B, d) minimises in its turn."""

    def after_turn(self, modality: str, features: Tensor, batch: Batch) -> None:
        """Called in a modality's turn between its backward pass and its step; features: (B, d), without a gradient."""

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """The losses () of all turns, for the present weights; `train_step` takes them one at a time."""
        return {f"alone/{m}": self.alone(outputs.model, m, f, batch) for m, f in outputs.features.items()}

    def train_step(self, batch: Batch) -> None:
        model, kept = self.fit.model, dict[nn.Parameter, Tensor | None]()
        for m in self.turns:
            with self.fit.autocast():
                features = encoded_alone(model, m, batch)
                losses = {f"alone/{m}": self.alone(model, m, features, batch)}
            self.fit.zero_grad()
            self.backward(losses)
            self.after_turn(m, features.detach(), batch)
            self.fit.update(losses)
            kept |= {p: p.grad for p in model.parameters() if p.grad is not None}
        for parameter, gradient in kept.items():  # for those who compare gradients and moves after the step
            parameter.grad = gradient


def encoded_alone(model: MultimodalModel, modality: str, batch: Batch) -> Tensor:
    """Features (B, d) of one modality, 0 for the samples of which it is dropped."""
    inputs = batch.inputs
    features = model.encode_one(modality, inputs.values[modality], inputs.lengths.get(modality))
    if modality not in batch.dropped:
        return features
    flags = {modality: batch.dropped[modality]}
    return model.drop({modality: features}, flags, present=inputs.present)[modality]
