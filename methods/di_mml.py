"""DI-MML: modalities learn apart, and teach each other only the dimensions in which they are better."""

from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import cast

import torch
from torch import Tensor, nn

from mcr_bench.bench.core.precision import full_precision, promoted
from mcr_bench.bench.fit import Batch, Inputs, MultimodalModel, Outputs, State
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Defect, Delay, Needs, OfficialCode, Reference
from mcr_bench.methods.terms.features.dimensions import drawn_towards, effective_dimensions
from mcr_bench.methods.terms.features.passes import training_features
from mcr_bench.methods.terms.fusing import weighted_sum
from mcr_bench.methods.terms.losses import having_each, loss_of, own_losses, stacked
from mcr_bench.methods.terms.modes import evaluation_mode, without_gradient
from mcr_bench.methods.terms.variants import WithVariants


class Stage(nn.Module):
    """Whether the second stage has begun: `second`, a tensor () bool that is kept with the weights."""

    second: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("second", torch.zeros((), dtype=torch.bool))


def by_certainty(logits: Tensor, temperature: float, kept: Tensor | None = None) -> Tensor:
    """The logits (B, C) that are the mean of K heads' logits (K, B, C) weighted by their certainty.

    The weights of a sample are softmax_k(max_c softmax(z_k)_c / T), over the heads that are `kept`, (K, B) bool.

    >>> by_certainty(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]), temperature=1.0)
    tensor([[0.5000, 0.5000]])
    """
    certainty = logits.softmax(-1).amax(-1) / temperature
    if kept is not None:
        kept = kept | ~kept.any(0)
        certainty = certainty.masked_fill(~kept, -torch.inf)
    return weighted_sum(logits, certainty.softmax(0), kept)


@dataclass
class DiMml(WithVariants):
    """First sum_m [CE(h_m, y) + weight CE(S f_m, y)] + sum_{t != s} N_{t,s}, then CE(z, y) on frozen encoders.

    h_m are the own heads' logits, S is one linear classifier of all modalities' features f_m. N_{t,s} = InfoNCE of
    student features f_s and teacher features sg(f_t) over the batch (`drawn_towards`), on the dimensions that are
    `effective_dimensions` of t and not of s; it acts from a share `start` of the epochs on, at whose beginning the
    dimensions are found. In the last share `second` only the fusion head is trained. The own heads and, in the second
    stage, the fusion head are predicted together, weighted by their certainty (`by_certainty`).
    """

    weight: float = setting(
        1.0, "weight of the shared classifier", origin="DI-MML code", at_least=0, space=Space(0.1, 10, log=True)
    )
    temperature: float = setting(
        50.0,
        "T of the contrast; default of the code: 1",
        origin="DI-MML runs, CREMA-D",
        at_least=0.01,
        space=Space(1, 100, log=True),
    )
    start: float = setting(
        0.13, "share of the epochs before the contrast", origin="DI-MML code: 20 of 150", at_least=0, at_most=1
    )
    second: float = setting(
        0.12,
        "share of the epochs, the last ones, that the second stage has; a run that stops early may never reach them: "
        "patience=0 makes sure that it does",
        origin="DI-MML code: 20 of 170",
        at_least=0,
        at_most=1,
    )
    certainty: float = setting(
        1.0,
        "T of the weights of the heads",
        origin="DI-MML runs, CREMA-D",
        at_least=0.01,
        space=Space(0.1, 10, log=True),
    )
    name = "di-mml"
    title = "DI-MML"
    group = "distillation"
    reference = Reference("Detached and Interactive Multimodal Learning", "ACM MM 2024", "2407.19514")
    official_code = OfficialCode("github.com/fanyunfeng-bit/DI-MML", "83b9b7a")
    defects = (
        Defect(
            "loss/contrast_loss.py:25-27",
            "The contrast takes sums of exponentials, which overflow: the loss is nan where a product of "
            "features over the temperature exceeds about 88.",
            "The logarithm of the share is log-softmax, which is finite for all features.",
        ),
        Defect(
            "loss/contrast_loss.py:14-18",
            "Where no dimension is left, every product is 0 and the term is the constant log B.",
            "Without dimensions there is nothing to teach: the term is 0.",
        ),
    )
    published = "official"
    needs = Needs(own_heads=True, classification=True, at_least=2)
    without_neutral = "With weight 0 and without contrast two stages stay, which no simpler method has."
    predicts_otherwise = "own heads and fusion head are weighted by their certainty in prediction only"
    delays = (Delay("start", "share"), Delay("second", "last"))
    deviations = (
        "Both stages are one run with one schedule, and shares of its epochs. Official code: two programs, epoch 20 "
        "(from 0) of 150 and 20 epochs more, with a new optimiser.",
        "The validation part selects the epoch, also one of the first stage, which predicts without the fusion head. "
        "Official code: the test part selects one of the second stage. Training that stops early has none.",
        "Each ordered pair of more than two modalities has a contrast. Official code: two modalities.",
        "Own heads of the second stage are frozen too, as in the official code, and so is the shared classifier.",
        "Class means are those of training samples without augmentation. Official code: as training sees them.",
        "Samples that lack either modality are left out of a contrast.",
        "`--var` is left out; the official code parses it and names files with it.",
    )
    _effective: Tensor | None = field(default=None, init=False, repr=False)  # (M, d) bool

    def build(self, model: MultimodalModel) -> None:
        model.extras["shared"] = nn.Linear(model.width, model.task.outputs)
        model.extras["stage"] = Stage()

    @property
    def fusing(self) -> bool:
        """Whether the present epoch belongs to the second stage."""
        epochs = self.fit.settings.epochs
        return self.fit.epoch > epochs - round(self.second * epochs)

    @property
    def contrasts(self) -> bool:
        """Whether the contrast acts in the present epoch."""
        return not self.fusing and self.fit.epoch > round(self.start * self.fit.settings.epochs)

    def on_epoch_start(self) -> None:
        if self.fusing:
            cast(Stage, self.fit.model.extras["stage"]).second.fill_(True)
        if self.contrasts and self._effective is None:
            self._effective = self.effective()

    def effective(self) -> Tensor:
        """(M, d) bool, the dimensions of each modality that tell the training part's classes apart."""
        train, size = self.fit.train, self.fit.settings.batch_size
        made = training_features(self.fit, torch.arange(len(train)), size)
        rows = [
            effective_dimensions(f, train.target, self.fit.task.outputs, train.presence(m)) for m, f in made.items()
        ]
        return torch.stack(rows)

    def forward(self, batch: Batch) -> Outputs:
        if not self.fusing:
            return super().forward(batch)
        encoders = self.fit.model.encoders
        with evaluation_mode(encoders), without_gradient(encoders.parameters()):
            return super().forward(batch)

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        task, target, having = self.fit.task, batch.target, batch.having
        if self.fusing:
            return {"fused": task.loss(outputs.logits, target)}
        shared, features = outputs.model.extras["shared"], {m: promoted(f) for m, f in outputs.features.items()}
        terms = {f"own/{m}": loss for m, loss in own_losses(task, outputs, target, having, batch.own).items()}
        with full_precision(target.device):
            for m, f in features.items():
                terms[f"shared/{m}"] = self.weight * loss_of(task, shared(f), target, having.get(m))
            if self.contrasts and self._effective is not None:
                terms |= self.contrast(features, self._effective, having)
        return terms

    def contrast(self, features: dict[str, Tensor], effective: Tensor, having: dict[str, Tensor]) -> dict[str, Tensor]:
        """The contrast () of each ordered pair, `contrast/TEACHER/STUDENT`, of features (B, d).

        effective: (M, d) bool. having: as `Batch.having`.
        """
        good, terms = dict(zip(features, effective.unbind(), strict=True)), {}
        for teacher, student in permutations(features, 2):
            chosen = good[teacher] & ~good[student]
            own, theirs, kept = features[student] * chosen, features[teacher], having_each(having, teacher, student)
            made = drawn_towards(own, theirs, self.temperature, kept, self.official)
            terms[f"contrast/{teacher}/{student}"] = made if self.official else torch.where(chosen.any(), made, 0.0)
        return terms

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        outputs = super().predict(model, inputs)
        own = outputs.own_logits
        every = torch.stack([*own.values(), promoted(outputs.logits)])
        second = cast(Stage, model.extras["stage"]).second.expand(1, len(outputs.logits))
        kept = stacked(list(own), inputs.present)
        kept = torch.ones_like(every[:-1, :, 0], dtype=torch.bool) if kept is None else kept
        logits = by_certainty(every, self.certainty, torch.cat([kept, second]))
        return replace(outputs, logits=logits, branch_logits=None)

    def state_dict(self) -> State:
        return {} if self._effective is None else {"effective": self._effective}

    def load_state_dict(self, state: State) -> None:
        self._effective = state["effective"].to(self.fit.device) if state else None
