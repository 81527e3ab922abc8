"""InfoReg: while training still gains information fast, the encoder of the modality that is ahead is held back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from mcr_bench.bench.fit import Batch, Evaluation, Outputs, State
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Defect, Delay, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.gradients.proximal import copies, pull_back, squared_norm
from mcr_bench.methods.terms.losses import split_losses, split_of
from mcr_bench.methods.terms.scores import mean_of_others, true_scores
from mcr_bench.methods.terms.variants import WithVariants

RELEASED_THRESHOLD, RELEASED_MEAN, RELEASED_FACTORS = 0.05, 10, (0.95, 0.1)


def in_learning_window(traces: Sequence[float], threshold: float) -> bool:
    """Whether the last of the traces, one for each epoch so far, has risen by more than `threshold` of itself.

    >>> in_learning_window([1.0, 2.0], 0.04), in_learning_window([2.0, 2.0], 0.04), in_learning_window([1.0], 0.04)
    (True, False, False)
    """
    return len(traces) > 1 and traces[-1] > 0 and (traces[-1] - traces[-2]) / traces[-1] > threshold


def pull(gaps: Tensor, beta: float) -> Tensor:
    """The coefficients a (M,) of the proximal term: exp(beta tanh(gap_m)) where a gap is above the others', else 0.

    gaps: (M,), how far each modality was ahead of the others.

    >>> pull(torch.tensor([0.5, 0.1]), beta=0.9)
    tensor([1.5157, 0.0000])
    """
    return torch.where(gaps > mean_of_others(gaps), torch.exp(beta * torch.tanh(gaps)), 0.0)


def in_released_window(traces: Sequence[float]) -> bool:
    """As `in_learning_window`, of means of ten traces from a list that begins with ten zeros; open in the first epoch.

    >>> in_released_window([]), in_released_window([1.0] * 9), in_released_window([1.0] * 11)
    (True, True, False)
    """
    padded = [0.0] * RELEASED_MEAN + list(traces)
    parts = padded[-RELEASED_MEAN - 1 : -1], padded[-RELEASED_MEAN:]
    return not traces or in_learning_window([sum(part) / RELEASED_MEAN for part in parts], RELEASED_THRESHOLD)


def released_pull(gaps: Tensor) -> Tensor:
    """The official code's coefficients (M,): c_m exp(tanh(gap_m)) where gap_m > 0; c is .95 for the first, else .1.

    gaps: (M,), of the sums over the batch of the true class's probability.

    >>> released_pull(torch.tensor([9.0, -9.0])), released_pull(torch.tensor([-9.0, 9.0]))
    (tensor([2.5824, 0.0000]), tensor([0.0000, 0.2718]))
    """
    factors = torch.full_like(gaps, RELEASED_FACTORS[1])
    factors[:1] = RELEASED_FACTORS[0]
    return torch.where(gaps > 0, factors * torch.exp(torch.tanh(gaps)), 0.0)


@dataclass
class InfoReg(WithVariants):
    """Joint training with a proximal term sum_m (a_m / 2) ||theta_m - theta_m(0)||^2 of encoders in a window of epochs.

    theta_m(0) are the weights of encoder m at the start of the epoch. An epoch t is in the window if the trace of the
    Fisher information still rises: (Tr(t-1) - Tr(t-2)) / Tr(t-1) > threshold, with Tr = sum_m E ||dL / d theta_m||^2
    over the batches of an epoch. a_m = exp(beta tanh(Delta_m)) for the modality that is ahead, and 0 for the others;
    Delta_m is the mean over the batches of epoch t-1 of max(0, s_m - mean_{j != m} s_j), where
    s_m = mean_i softmax(z_m)_{i, y_i} of modality m's share z_m = W_m f_m + b / M of the logits.
    """

    beta: float = setting(
        0.9, "how much more a modality far ahead is held back", origin="InfoReg paper", at_least=0, space=Space(0.1, 3)
    )
    threshold: float = setting(
        0.04,
        "K, the smallest relative rise of the trace in the window; 1 = no window",
        origin="InfoReg paper",
        at_most=1,
        space=Space(0.005, 0.3, log=True),
    )
    unimodal: bool = setting(False, "add the losses of the shares z_m, as InfoReg* of the paper does")
    name = "inforeg"
    title = "InfoReg"
    group = "modulation"
    reference = Reference(
        "Adaptive Unimodal Regulation for Balanced Multimodal Information Acquisition", "CVPR 2025", "2503.18595"
    )
    official_code = OfficialCode("github.com/GeWu-Lab/InfoReg_CVPR2025", "939b2ed")
    defects = (
        Defect(
            "main.py, train_epoch: k",
            "The window looks at the trace of the first modality (audio) alone, as a mean of ten epochs that begins "
            "with ten zeros, with threshold .05, and is open in the first epoch.",
            "The window is open while the trace rises by more than K = .04 from one epoch to the next.",
        ),
        Defect(
            "main.py, train_epoch: beta, beta2",
            "The coefficients are .95 exp(tanh(gap)) for audio and .1 exp(tanh(gap)) for video; gaps are those of sums "
            "over the batch, so that the tanh is close to 1 and the coefficients are two constants.",
            "The coefficient of the modality that is ahead is exp(beta tanh(Delta)), Delta being a mean over batches.",
        ),
        Defect(
            "main.py, train_epoch: loss_out_a, loss_out_v",
            "Losses of the shares of the logits are always added, which is InfoReg*.",
            "InfoReg minimises the fused loss and the proximal term.",
        ),
    )
    published = "official"
    needs = Needs(additive_fusion=True, classification=True, at_least=2)
    neutral = (Neutral({"threshold": 1.0}, "joint"),)
    delays = (Delay(least=3, where=("variant", "paper")),)
    deviations = (
        "The trace is the sum over all modalities, of all parameters of their encoders, before anything is held back. "
        "Official code: weights of convolutions and linear layers, each layer divided by its size, and held back.",
        "The window needs two epochs with traces, so it can open in the third one at first.",
        "Each of more than two modalities is compared with the mean of the others, also in variant=official.",
    )
    _traces: list[list[float]] = field(default_factory=list, init=False, repr=False)  # of each epoch: by modality
    _gaps: list[float] = field(default_factory=list, init=False, repr=False)  # of the last epoch, by modality
    _sums: Tensor | None = field(default=None, init=False, repr=False)  # (4, M), over the steps of this epoch
    _start: dict[str, list[Tensor]] = field(default_factory=dict, init=False, repr=False)  # empty outside the window

    @cached_property
    def encoders(self) -> dict[str, list[nn.Parameter]]:
        """Modality -> the parameters of its encoder."""
        return {m: self.fit.model.parameters_of(m, "encoder") for m in self.fit.model.modalities}

    def on_epoch_start(self) -> None:
        self._sums, self._start = None, {}
        if self._in_window():
            self._start = {m: copies(parameters) for m, parameters in self.encoders.items()}

    def _in_window(self) -> bool:
        if self.official:
            return in_released_window([row[0] for row in self._traces])
        return in_learning_window([sum(row) for row in self._traces], self.threshold)

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        terms = super().loss(outputs, batch)
        if not (self.unimodal or self.official):
            return terms
        shares = split_losses(self.fit.task, outputs, batch.target, batch.having)
        return terms | {f"split/{m}": loss for m, loss in shares.items()}

    @torch.no_grad()
    def after_backward(self, outputs: Outputs, batch: Batch) -> None:
        scores = true_scores(split_of(outputs), batch.target, self.fit.task, batch.having)
        gaps = scores - mean_of_others(scores, batch.having)
        known = ~gaps.isnan()  # nan: no sample of the batch has the modality, or none has another one
        gaps = torch.where(known, gaps, 0.0)
        traces = torch.stack([squared_norm(parameters) for parameters in self.encoders.values()])
        row = torch.stack([traces.to(gaps), gaps.clamp(min=0), known.to(gaps), torch.ones_like(gaps)])
        self._sums = row if self._sums is None else self._sums + row
        if not self._start:
            return
        pulls: Sequence[Tensor | float] = self._pulls
        if self.official:
            pulls = released_pull(gaps * len(batch.target)).unbind()
        for (m, parameters), a in zip(self.encoders.items(), pulls, strict=True):
            self.fit.log(f"coefficient/{m}", a)
            pull_back(parameters, self._start[m], a)

    @property
    def _pulls(self) -> list[float]:
        """The paper's coefficients in the present epoch, by modality."""
        pulls: list[float] = pull(torch.tensor(self._gaps, dtype=torch.float64), self.beta).tolist()
        return pulls

    def on_epoch_end(self, validation: Evaluation) -> None:
        if self._sums is None:
            return
        traces, gaps, known, steps = self._sums.cpu()
        self._traces.append((traces / steps).tolist())
        self._gaps = (gaps / known.clamp(min=1)).tolist()

    def state_dict(self) -> State:
        return {"traces": [[*row] for row in self._traces], "gaps": [*self._gaps]}

    def load_state_dict(self, state: State) -> None:
        self._traces, self._gaps = [[*row] for row in state["traces"]], [*state["gaps"]]
