"""I2M2: a product of experts, one for each modality and a joint one, each with encoders of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from mcr_bench.bench.fit import Batch, Inputs, MultimodalModel, Outputs
from mcr_bench.methods.base import Method, Needs, OfficialCode, Reference, Requirement
from mcr_bench.methods.terms.experts.expert import add_experts, expert_logits, experts_of
from mcr_bench.methods.terms.experts.product import product
from mcr_bench.methods.terms.losses import stacked
from mcr_bench.methods.terms.unimodal_start import take_over, unimodal_runs


@dataclass
class I2M2(Method):
    """Minimise CE(z + sum_m u_m, y); the prediction is softmax(z + sum_m u_m), a product of M + 1 experts.

    u_m are the logits of a unimodal model, z those of a joint model whose encoders are others:
    log p(y | x) = log softmax(z)_y + sum_m log softmax(u_m)_y - log of the sum over classes of the same. All start from
    the weights of their own finished runs and are trained together by a new optimiser.
    """

    name = "i2m2"
    title = "I2M2"
    group = "architecture"
    reference = Reference(
        "Jointly Modeling Inter- & Intra-Modality Dependencies for Multi-modal Learning", "NeurIPS 2024", "2405.17613"
    )
    official_code = OfficialCode("github.com/divyam3897/I2M2", "7742765", "complete")
    needs = Needs(at_least=2)
    without_neutral = "It has no setting: the experts always count, so that it is never joint training alone."
    deviations = (
        "Any number of modalities, with one expert each. Official code: two.",
        "Optimiser, learning rate, epochs and clipping are those of the run, in all stages. Official code, AV-MNIST: "
        "SGD at 0.01 in the unimodal stage and the last one, 0.1 in the joint one, 30 epochs each, clipped at norm 8.",
        "The stages before the last one end at their best epochs by validation, as all runs.",
        "In a regression the outputs are averaged, an extension; the official code does so where inputs are packed.",
        "A sample that lacks a modality is predicted without its expert, an extension.",
        "Predictions from one modality are those of probe heads on the features of the joint model.",
    )

    def requires(self, modalities: tuple[str, ...]) -> list[Requirement]:
        return [*unimodal_runs(modalities), Requirement("joint", modalities)]

    def build(self, model: MultimodalModel) -> None:
        add_experts(model)

    def on_fit_start(self) -> None:
        model, runs = self.fit.model, self.fit.dependencies
        if len(runs) != len(model.modalities) + 1:
            raise RuntimeError(f"{len(model.modalities)} unimodal runs and a joint one are needed, not {len(runs)}")
        for (m, expert), weights in zip(experts_of(model).items(), runs[:-1], strict=True):
            take_over(expert.encoder, expert.head, weights, m)
        kept = {name: x for name, x in model.state_dict().items() if name.startswith("extras.")}
        model.load_state_dict(kept | runs[-1])

    def forward(self, batch: Batch) -> Outputs:
        return _with_experts(super().forward(batch), batch.inputs, batch.having)

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        return _with_experts(super().predict(model, inputs), inputs, inputs.present)


def _with_experts(outputs: Outputs, inputs: Inputs, having: Mapping[str, Tensor]) -> Outputs:
    """The outputs of the joint model with the logits (B, C) of the product in place of its own."""
    model = outputs.model
    whole = product(outputs.logits, expert_logits(model, inputs), model.task, stacked(model.modalities, having))
    return replace(outputs, logits=whole, branch_logits=None)
