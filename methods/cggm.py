"""CGGM: classifiers on the features tell which encoder improves slowly; its gradients and direction then count more."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from mcr_bench.bench.core.precision import promoted
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit import Batch, Evaluation, Groups, MultimodalModel, Outputs, State
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Defect, Delay, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.gradients.classifier_guided import (
    cosine,
    misalignment,
    pulls,
    released_slowness,
    right,
    slowness,
)
from mcr_bench.methods.terms.losses import batch_mean, own_losses
from mcr_bench.methods.terms.modulation import Modulation
from mcr_bench.methods.terms.variants import WithVariants


@dataclass
class Cggm(WithVariants, Modulation):
    """Minimise CE(z, y) + lambda (1 / M) sum_m (|B_m| - B_m cos_m); encoder m's gradient is multiplied by rho B_m.

    The own heads h_m learn from sum_m CE(h_m, y) on features that pass no gradient on. B_m = (sum_j d_j - d_m) /
    sum_j d_j, between 0 and 2, with the rise d_m of head m's accuracy in the last epoch, on the validation part; in a
    regression it is the accuracy of the sign. cos_m is the cosine of the gradients (dCE(h_m, y) / dh_m)^T f_m and
    (dCE(z, y) / dz)^T f_m, those of a linear last layer on f_m; the first is a constant. Nothing acts in the first
    epoch, of which no rise is known.
    """

    rho: float = setting(
        1.3, "factor of all encoders' gradients", origin="CGGM code", at_least=0, space=Space(0.3, 5, log=True)
    )
    weight: float = setting(
        0.2,
        "lambda, weight of the alignment of gradients",
        origin="CGGM code, MOSI",
        at_least=0,
        space=Space(0.01, 1, log=True),
    )
    head_rate: float = setting(
        0.5,
        "learning rate of the own heads, as a multiple of the run's",
        origin="CGGM code: 5e-4 beside 1e-3",
        at_least=0,
    )
    name = "cggm"
    title = "CGGM"
    group = "modulation"
    reference = Reference(
        "Classifier-guided Gradient Modulation for Enhanced Multimodal Learning", "NeurIPS 2024", "2411.01409"
    )
    official_code = OfficialCode("github.com/zrguo/CGGM", "21e428c", "complete")
    defects = (
        Defect(
            "src/msatrain.py: fusion_grad, cls_grad",
            "The cosine is that of the weights of the last layers, not of their gradients.",
            "It is that of the gradients.",
        ),
        Defect(
            "src/msatrain.py: acc1, acc2, coeff",
            "Accuracies are those of two batches in sequence, and B has no bounds: where the sum of the differences is "
            "near 0 it is huge, and gradients are often reversed.",
            "Accuracies are those of two epochs in sequence, on samples that are not trained on, and 0 <= B <= 2.",
        ),
        Defect(
            "src/msatrain.py: l_gm",
            "The alignment of one batch, with its graph, is added to the loss of the next one.",
            "It belongs to the batch whose loss it is added to.",
        ),
    )
    published = "official"
    needs = Needs(own_heads=True, at_least=2)
    neutral = (Neutral({"start": 10_000}, "joint"),)
    delays = (Delay("start", "first", least=2),)
    deviations = (
        "The classifiers are the own heads, linear, trained by the run's optimiser with a learning rate of their own. "
        "Official code: transformers with an Adam of their own.",
        "The gradients that are compared are those of a linear last layer on the modality's features, which every "
        "fusion head allows. variant=official needs a late-linear head, whose slices it compares.",
        "Accuracies are those of the validation part, which also selects the epoch; before the first they are 0. Where "
        "their gains sum to 0 or less, B is (M - 1) / M, as for equal gains.",
        "Gradients are clipped together with those of the own heads. Official code: without, at a norm of 0.8.",
        "Of several labels the accuracy is the share of all labels that are right, an extension.",
        "A modality that no sample of a batch has keeps its accuracy in variant=official, an extension.",
    )
    _accuracy: Tensor | None = field(default=None, init=False, repr=False)  # (M,), the last one that is known
    _slow: Tensor | None = field(default=None, init=False, repr=False)  # B (M,); None while it is not known
    _pending: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)  # of the batch before, official

    def build(self, model: MultimodalModel) -> None:
        if self.official and not all(_slices(model, m) for m in model.modalities):
            raise UserError(f"{self.name}.variant=official needs a linear fusion head. Set model.fusion=late-linear.")

    def parameter_groups(self, model: MultimodalModel) -> Groups:
        heads = {id(p) for p in model.own_heads.parameters()}
        learned = [p for p in model.parameters() if p.requires_grad]
        apart = {
            "params": [p for p in learned if id(p) in heads],
            "lr": self.head_rate * self.fit.settings.optimizer.lr,
        }
        return [{"params": [p for p in learned if id(p) not in heads]}, apart]

    def touches(self, modality: str) -> list[nn.Parameter]:
        return self.fit.model.parameters_of(modality, "encoder")

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        classified = _apart(outputs)
        own = own_losses(self.fit.task, classified, batch.target, batch.having, batch.own)
        terms = super().loss(outputs, batch) | {f"own/{m}": loss for m, loss in own.items()}
        if self.weight and self.active and (alignment := self._alignment(outputs, classified, batch)) is not None:
            terms["alignment"] = self.weight * alignment
        return terms

    def _alignment(self, outputs: Outputs, classified: Outputs, batch: Batch) -> Tensor | None:
        if self.official:
            return self._of_the_batch_before()
        if self._slow is None:
            return None
        task, target, cosines = self.fit.task, batch.target, []
        for m, f in outputs.features.items():
            having = batch.having.get(m)
            kept = promoted(f) if having is None else torch.where(having[:, None], promoted(f), 0.0)
            own = pulls(classified.own_logits[m], kept.detach(), batch.target_of(m), task, having).detach()
            cosines.append(cosine(own, pulls(outputs.logits, kept, target, task)))
        return misalignment(self._slow, torch.stack(cosines))

    def _of_the_batch_before(self) -> Tensor | None:
        """A term with value and gradient of the last batch's alignment; None before the second step."""
        if not self._pending:
            return None
        slices = {m: _slices(self.fit.model, m)[0] for m in self.fit.model.modalities}
        moved = [(self._pending[f"slice/{m}"] * (w - w.detach())).sum() for m, w in slices.items()]
        return self._pending["value"] + torch.stack(moved).sum()

    def coefficients(self, outputs: Outputs, batch: Batch) -> Tensor:
        if self.official:
            self._look(outputs, batch)
        if self._slow is None:
            return outputs.logits.new_ones(len(outputs.features))
        return self.rho * self._slow

    def _look(self, outputs: Outputs, batch: Batch) -> None:
        """The official code's B, and its alignment for the next batch, from the accuracies of this batch."""
        modalities, model = list(outputs.features), self.fit.model
        rights = [self._right(m, z.detach(), batch) for m, z in _apart(outputs).own_logits.items()]
        scored = batch_mean(torch.stack(rights), modalities, batch.having)
        before = torch.zeros_like(scored) if self._accuracy is None else self._accuracy
        self._accuracy = torch.where(scored.isnan(), before, scored)
        self._slow = slow = released_slowness(self._accuracy - before)
        with torch.enable_grad():
            slices = [_slices(model, m)[0] for m in modalities]
            heads = [model.own_heads[m].get_parameter("weight").detach() for m in modalities]
            value = misalignment(slow, torch.stack([cosine(h, w) for h, w in zip(heads, slices, strict=True)]))
            gradients = torch.autograd.grad(value, slices)
        named = {f"slice/{m}": g for m, g in zip(modalities, gradients, strict=True)}
        self._pending = {"value": value.detach(), **named}

    def _right(self, modality: str, logits: Tensor, batch: Batch) -> Tensor:
        """How right the modality's own head is on each training sample of the batch, (B,); logits: (B, C)."""
        train, task = self.fit.train, self.fit.task
        labels = train.labels_of(modality)[batch.index] if modality in batch.own else batch.labels
        return right(task.user(logits), labels, task)

    def on_epoch_end(self, validation: Evaluation) -> None:
        if self.official:
            return
        modalities, like = self.fit.model.modalities, next(self.fit.model.parameters())
        before = [0.0] * len(modalities) if self._accuracy is None else self._accuracy.tolist()
        scored = [self._found(m, validation, last) for m, last in zip(modalities, before, strict=True)]
        self._accuracy, last = (torch.tensor(x, dtype=like.dtype, device=like.device) for x in (scored, before))
        self._slow = slowness(self._accuracy - last)

    def _found(self, modality: str, validation: Evaluation, last: float) -> float:
        """The accuracy of a modality's own head on the validation part; the last one where it is not known."""
        val, logits = self.fit.val, validation.modality_logits.get(modality)
        labels = val.having(modality, val.labels_of(modality))
        if logits is None or not len(labels):
            return last
        return float(right(val.having(modality, logits).double(), labels, self.fit.task).mean())

    def state_dict(self) -> State:
        return {"accuracy": self._accuracy, "slow": self._slow, "pending": dict(self._pending)}

    def load_state_dict(self, state: State) -> None:
        def here(x: Tensor | None) -> Tensor | None:
            return x if x is None else x.to(self.fit.device)

        self._accuracy, self._slow = here(state["accuracy"]), here(state["slow"])
        self._pending = {name: x.to(self.fit.device) for name, x in state["pending"].items()}


def _apart(outputs: Outputs) -> Outputs:
    """The outputs with features that pass no gradient on, so that the own heads alone learn from their losses."""
    return replace(outputs, features={m: f.detach() for m, f in outputs.features.items()})


def _slices(model: MultimodalModel, modality: str) -> list[nn.Parameter]:
    """The weights of a modality's slice of the fusion head that have the shape of its own head's weights."""
    shape = model.own_heads[modality].get_parameter("weight").shape
    return [p for p in model.parameters_of(modality, "fusion_slice") if p.shape == shape]
