"""IPRM: features are mixed on the sphere by shares that a probe sets, more of the modality nearer to the mix."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from mcr_bench.bench.core.precision import full_precision, promoted
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit import Batch, Inputs, MultimodalModel, Outputs
from mcr_bench.bench.models.fusion import Fused, Fusion
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Method, Needs, OfficialCode, Reference
from mcr_bench.methods.terms.fusing import summed
from mcr_bench.methods.terms.losses import having_each, loss_mean, multi_loss, stacked

MARGIN = 1e-6  # cosines are kept so far from -1 and 1, where the slope of the angle is infinite


def slerp(features: Tensor, shares: Tensor) -> Tensor:
    """Features (2, B, d) of two modalities mixed on the unit sphere, (B, d), with shares t (2,) or (2, B).

    (sin(t_1 w) u_1 + sin(t_2 w) u_2) / sin(w), with u_m = f_m / |f_m| and the angle w between u_1 and u_2.

    >>> slerp(torch.tensor([[[3.0, 0.0]], [[0.0, 2.0]]]), torch.tensor([0.5, 0.5]))
    tensor([[0.7071, 0.7071]])
    """
    units = normalize(features, dim=2)
    angle = (units[0] * units[1]).sum(1).clamp(-1 + MARGIN, 1 - MARGIN).acos()
    weights = torch.sin(shares.reshape(2, -1) * angle) / angle.sin()
    return (weights[..., None] * units).sum(0)


def divergences(own: Tensor, mixed: Tensor, having: Tensor | None = None) -> Tensor:
    """KL(p_m || p_mix) of two modalities, (2,), as a mean over the samples at which `having` (B,) is set.

    own: logits (2, B, C). mixed: logits (B, C).

    >>> divergences(torch.tensor([[[99.0, 0.0]], [[0.0, 0.0]]]), torch.zeros(1, 2))
    tensor([0.6931, 0.0000])
    """
    log_p = own.log_softmax(2)
    apart = (log_p.exp() * (log_p - mixed.log_softmax(1))).sum(2).clamp(min=0)
    return torch.stack([loss_mean(row, having) for row in apart])


class SphericalMix(Fusion):
    """z = W slerp(f_1, f_2; t) + b of two modalities.

    It keeps, for each modality, the share t of the last step, and the share that the probe of that step gave; both
    begin at 1/2. They are buffers, so that the weights of an epoch predict with the shares of that epoch.
    """

    def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
        super().__init__()
        self.slices = nn.ModuleDict()
        self.modalities, self.head = modalities, nn.Linear(width, outputs)
        for m in modalities:
            self.register_buffer(f"share_{m}", torch.full((), 0.5))
            self.register_buffer(f"probed_{m}", torch.full((), 0.5))

    def kept(self, what: str) -> Tensor:
        """The shares (2,) of the last step; what: share or probed."""
        return torch.stack([self.get_buffer(f"{what}_{m}") for m in self.modalities])

    def keep(self, what: str, shares: Tensor) -> None:
        """Keep shares (2,) for the next step and for predictions."""
        for m, share in zip(self.modalities, shares.unbind(), strict=True):
            self.get_buffer(f"{what}_{m}").copy_(share)

    def mixed(self, features: Mapping[str, Tensor], shares: Tensor) -> Tensor:
        """Logits (B, C) of features (B, d) of both modalities, with shares (2,) or (2, B), in full precision."""
        with full_precision(self.head.weight.device):
            mix = slerp(torch.stack([promoted(features[m]) for m in self.modalities]), shares)
            logits: Tensor = self.head(mix)
        return logits

    def forward(self, features: dict[str, Tensor]) -> Fused:
        """Features (B, d) of both modalities -> logits (B, C), with the shares of the last step."""
        return Fused(self.mixed(features, self.kept("share")), None)


@dataclass
class Iprm(Method):
    """Minimise CE(z_mix, y) + sum_m CE(h_m, y), where z_mix = W slerp(f_1, f_2; s) + b has probed shares s.

    In each step the features are mixed twice. The probe has shares t_m <- momentum t_m + (1 - momentum) s_m, with s of
    the step before, and no gradient; K_m = KL(softmax(h_m) || softmax(z_mix)), as a mean over the batch, then gives
    s_1 = K_2 / (K_1 + K_2) and s_2 = K_1 / (K_1 + K_2), with which the loss is computed. At first t = s = 1/2. The
    prediction is h_1 + h_2 + z_mix with the shares t of the last step. It is defined for two modalities, as a
    geodesic has two ends, and for classes, as K compares distributions over them.
    """

    momentum: float = setting(
        0.8,
        "how slowly the shares of the probe follow those that it has given",
        origin="IPRM code",
        at_least=0,
        at_most=1,
        space=Space(0, 0.99),
    )
    name = "iprm"
    title = "IPRM"
    group = "architecture"
    reference = Reference(
        "Towards Equilibrium: An Instantaneous Probe-and-Rebalance Multimodal Learning Approach", "IJCAI 2025"
    )
    official_code = OfficialCode("github.com/njustkmg/IJCAI25-IPRM", "0bb457f")
    needs = Needs(own_heads=True, additive_fusion=True, classification=True, at_least=2, at_most=2)
    without_neutral = "Features are mixed on the sphere under all settings, which no other method does."
    predicts_otherwise = "The prediction is the sum of three logits, each of which has a loss of its own."
    deviations = (
        "The shares of a prediction are buffers of the model, so that the best epoch predicts with its own ones. "
        "Official code: numbers of the run, those of its last training batch.",
        "Cosines are kept within 1e-6 of -1 and 1, and shares stay where both divergences are 0. Official code: 1e-8 "
        "is added to the sine, and 0 / 0 is not caught.",
        "Three modalities are left out. Official code: a script that mixes each pair, with heads of their own, and in "
        "which the third modality uses the own head of the second.",
        "Of a sample that lacks a modality, the other one is all of the mix and of the prediction, an extension.",
        "Optimiser and rate are those of the run. Official code: SGD at .01, momentum .9.",
        "The validation part selects the epoch. Official code: the test part.",
    )
    _next: tuple[Tensor, Tensor] | None = field(default=None, init=False, repr=False)  # t and s of the present step

    def build(self, model: MultimodalModel) -> None:
        if not model.fusion.additive:
            raise UserError(f"{self.name} needs an additive fusion head. Set model.fusion=late-linear.")
        model.fusion = SphericalMix(model.modalities, model.width, model.task.outputs)

    def forward(self, batch: Batch) -> Outputs:
        """Logits (B, C) of the mix with the shares that the probe gives for this batch."""
        model, head, having = self.fit.model, _head(self.fit.model), batch.having
        features = model.drop(model.encode(batch.inputs), batch.dropped, present=batch.inputs.present)
        with torch.no_grad():
            outputs = model.fuse(features)
        own = torch.stack([outputs.own_logits[m] for m in head.modalities]).detach()
        with torch.no_grad():
            probe = torch.lerp(head.kept("probed"), head.kept("share"), self.momentum)
            tried = head.mixed(features, _with_absences(probe, head.modalities, having))
            k = divergences(own, tried, having_each(having, *head.modalities))
            given = torch.where(k.sum() > 0, k.flip(0) / k.sum(), probe)
        self._next = probe, given
        outputs.logits = head.mixed(features, _with_absences(given, head.modalities, having))
        return outputs

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        return multi_loss(self.fit.task, outputs, batch.target, having=batch.having, own=batch.own)

    @torch.no_grad()
    def after_backward(self, outputs: Outputs, batch: Batch) -> None:
        assert self._next is not None, "forward() has set it"
        head, (probe, given) = _head(self.fit.model), self._next
        head.keep("share", probe)
        head.keep("probed", given)
        self.fit.log_each([f"coefficient/{m}" for m in head.modalities], given)

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        outputs, head = super().predict(model, inputs), _head(model)
        late = summed(outputs, outputs.own_logits, inputs.present)
        shares = _with_absences(head.kept("share"), head.modalities, inputs.present)
        return replace(late, logits=head.mixed(outputs.features, shares) + late.logits)


def _with_absences(shares: Tensor, modalities: list[str], having: Mapping[str, Tensor]) -> Tensor:
    """Shares (2,), or (2, B) where some samples lack a modality, of which the share is 0, and that of the other 1."""
    kept = stacked(modalities, having)
    if kept is None:
        return shares
    return torch.where(kept.all(0), shares[:, None], kept.to(shares))


def _head(model: MultimodalModel) -> SphericalMix:
    head = model.fusion
    assert isinstance(head, SphericalMix), "build() has put it there"
    return head
