"""MIDAS: the fusion head also learns from modalities of different classes put together, with a label by confidence."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from mcr_bench.bench.core.precision import promoted
from mcr_bench.bench.fit import Batch, Outputs, State
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Delay, Method, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.features.taken import taken
from mcr_bench.methods.terms.losses import having_each, loss_mean, multi_loss
from mcr_bench.methods.terms.sampling.exchange import exchanged, partners


@dataclass
class Midas(Method):
    """Minimise CE(z, y) + sum_m CE(h_m, y) + weight L_mis; in a warm-up at first only sum_m CE(h_m, y).

    A misaligned sample has features f_m of samples k_m of a batch: one modality of sample i, the others of samples of
    other classes. L_mis is the mean of s sum_m -alpha_m c_m log p(y_{k_m}), with the fusion head's p for them. c_m is
    softmax(h_m)(y_{k_m}) of sample k_m's own logits, divided by its sum over m. s = 1 + (cos + 1) / 2, where cos is the
    mean cosine of the features that came from others and sample i's own. alpha_m is 1 at the start of an epoch; after
    every step that of the modality with the smallest mean c_m becomes
    max(1, alpha_m + eta sign(mean c_m - mean p(y_{k_m}) / sum_l p(y_{k_l}))), and that of the others 1.
    """

    warmup: int = setting(
        5,
        "epochs in which only the own heads' losses are minimised; the fusion head is trained after them",
        at_least=0,
        space=Space(0, 15),
    )
    weight: float = setting(
        1.0,
        "lambda, weight of the misaligned samples",
        origin="MIDAS paper",
        at_least=0,
        space=Space(0.1, 10, log=True),
    )
    eta: float = setting(
        0.05, "step length of alpha", origin="MIDAS paper", at_least=0, space=Space(0.005, 0.5, log=True)
    )
    update: Literal["sign", "difference"] = setting(
        "sign",
        "alpha moves by eta times the sign of the difference of mean confidences, or times that difference; this "
        "hardly moves it in epochs of few steps",
    )
    hard: Literal["shifted", "cosine", "none"] = setting(
        "shifted", "weight s of a misaligned sample; shifted: 1 + (cos + 1) / 2; cosine: cos itself; none: 1"
    )
    name = "midas"
    title = "MIDAS"
    group = "data"
    reference = Reference(
        "MIDAS: Misalignment-based Data Augmentation Strategy for Imbalanced Multimodal Learning",
        "NeurIPS 2025",
        "2509.25831",
    )
    official_code = OfficialCode(state="only its README could be read")
    needs = Needs(own_heads=True, classification=True, at_least=2)
    neutral = (Neutral({"warmup": 0, "weight": 0.0}, "multi-loss"),)
    delays = (Delay("warmup", "before"),)
    deviations = (
        "The text of the paper was read without its displayed formulas, which are those of a summary. There alpha "
        "moves by the sign of the difference; the text names the difference alone (update=difference).",
        "The number of epochs of the warm-up is our choice, as the paper does not state it.",
        "Each sample gives M misaligned ones, whose loss is a mean; of two modalities both exchanges, as in the paper. "
        "Of more the paper draws a permutation of the sources, we take all its rotations.",
        "All partners of a sample are of other classes than it. For more than two modalities the paper requires two "
        "different classes among all sources.",
        "alpha is 1 again at the start of every epoch, and a misaligned sample weighs 1 + (cos + 1) / 2 (our readings; "
        "hard=cosine: cos itself).",
        "Confidences are those in the sample's class, also where the data says what is true of a modality alone.",
        "Samples that lack a modality, or of which one is dropped, are not exchanged. The official data has none.",
    )
    _alpha: Tensor | None = field(default=None, init=False, repr=False)  # (M,); None: 1 for all
    _next: Tensor | None = field(default=None, init=False, repr=False)  # alpha after the present step

    @property
    def warming(self) -> bool:
        """Whether only the own heads' losses are minimised in the present epoch."""
        return max(1, self.fit.epoch) <= self.warmup

    def on_epoch_start(self) -> None:
        self._alpha = self._next = None

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        terms = multi_loss(self.fit.task, outputs, batch.target, having=batch.having, own=batch.own)
        if self.warming:
            del terms["fused"]
        elif self.weight:
            terms["misaligned"] = self.weight * self.misaligned(outputs, batch)
        return terms

    def misaligned(self, outputs: Outputs, batch: Batch) -> Tensor:
        """L_mis (), on the features of a batch; it also finds the next alpha."""
        modalities, y = list(outputs.features), batch.target
        usable = having_each(batch.having, *modalities)
        usable = torch.ones_like(y, dtype=torch.bool) if usable is None else usable
        source, valid = self._sources(modalities, y, usable)
        mixed = taken(outputs.features, {m: source[:, k].flatten() for k, m in enumerate(modalities)})
        logits = promoted(self.fit.model.fuse(mixed).logits).unflatten(0, (len(modalities), len(y)))
        log_p = logits.log_softmax(-1).gather(-1, y[source].movedim(1, -1)).movedim(-1, 1)  # (M, M, B), as source
        with torch.no_grad():
            confidences = self._confidences(outputs, y, source)
            self._next = self._moved(confidences, log_p.softmax(1), valid)
            wanted = self._weights(modalities)[:, None] * confidences
        losses = -(wanted * log_p).sum(1) * self._hardness(outputs.features, source)
        return loss_mean(losses.mean(0), valid)

    def _sources(self, modalities: list[str], target: Tensor, usable: Tensor) -> tuple[Tensor, Tensor]:
        """The samples that modalities come from, (M, M, B), and which samples (B,) have partners; drawn."""
        device, fit, count = target.device, self.fit, len(target)
        draws = torch.rand(count, count, generator=fit.generator("partner", device=device), device=device)
        others, valid = partners(target, usable, draws, len(modalities) - 1)
        ranked = [
            torch.rand(count, generator=fit.generator("place", m, device=device), device=device) for m in modalities
        ]
        return exchanged(others, torch.stack(ranked).argsort(0).argsort(0)), valid

    def _confidences(self, outputs: Outputs, target: Tensor, source: Tensor) -> Tensor:
        """The normalised confidences c of the own heads in the classes of their samples, (M, M, B), as `source`."""
        logits = promoted(torch.stack(list(outputs.own_logits.values())))
        log_true = logits.log_softmax(-1).gather(-1, target.expand(len(logits), -1)[..., None])[..., 0]
        return log_true.expand(len(logits), -1, -1).gather(2, source).softmax(1)

    def _hardness(self, features: dict[str, Tensor], source: Tensor) -> Tensor:
        """The weight s of each misaligned sample, (M, B)."""
        if self.hard == "none":
            return torch.ones_like(source[:, 0], dtype=torch.get_default_dtype())
        with torch.no_grad():
            pairs = [functional.cosine_similarity(f[source[:, k]], f, dim=-1) for k, f in enumerate(features.values())]
            changed = source != torch.arange(source.shape[-1], device=source.device)
            cosines = promoted(torch.stack(pairs, 1)) * changed
            mean = cosines.sum(1) / changed.sum(1).clamp(min=1)
        return mean if self.hard == "cosine" else 1 + (mean + 1) / 2

    def _weights(self, modalities: list[str]) -> Tensor:
        """alpha (M,); it is logged."""
        if self._alpha is None:
            self._alpha = torch.ones(len(modalities), device=self.fit.device)
        self.fit.log_each([f"coefficient/{m}" for m in modalities], self._alpha)
        return self._alpha

    def _moved(self, confidences: Tensor, fused: Tensor, valid: Tensor) -> Tensor:
        """alpha (M,) after this step, of the own heads' and the fusion head's confidences (M, M, B) in each source."""
        mine, theirs = (torch.stack([loss_mean(rows, valid) for rows in c.mean(0)]) for c in (confidences, fused))
        weakest = functional.one_hot(mine.argmin(), len(mine)).bool()
        gap = (mine - theirs).sign() if self.update == "sign" else mine - theirs
        before = torch.ones_like(gap) if self._alpha is None else self._alpha.to(gap)
        moved = torch.where(weakest, (before + self.eta * gap).clamp(min=1), 1.0)
        return torch.where(valid.any(), moved, before)

    def after_backward(self, outputs: Outputs, batch: Batch) -> None:
        self._alpha, self._next = self._next, None

    def state_dict(self) -> State:
        return {"alpha": self._alpha}

    def load_state_dict(self, state: State) -> None:
        self._alpha = state["alpha"]
