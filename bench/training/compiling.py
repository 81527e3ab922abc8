"""Encoders compiled by torch.compile. One that cannot be compiled runs as it is, and the run's log says why.

Only an encoder's `forward` is replaced, on the instance. Hooks, names of parameters and state dicts stay as they are.
"""

import copy
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import chain

import torch
from torch import Tensor

from mcr_bench.bench.core.process_state import process_state_kept
from mcr_bench.bench.errors import in_words
from mcr_bench.bench.fit.fit import Fit

LOG = logging.getLogger(__name__)
VERSIONS = 64  # of one encoder's code: modes, batch sizes and modalities; PyTorch's limit of 8 is soon reached
# Dropout then draws what it draws without compiling, and the compiler starts no processes, which could outlive the run.
OPTIONS: dict[str, str | int | bool | Callable[..., object]] = {"fallback_random": True, "compile_threads": 1}
Forward = Callable[..., Tensor]


class Compiled:
    """The `forward` of a compiled encoder. After its first failure it is the encoder's own one.

    modality: that of the encoder.
    own: the encoder's own `forward`, values (B, ...) -> features (B, d).
    failure: why it was given up; empty while it works.
    """

    def __init__(self, modality: str, own: Forward) -> None:
        self.modality, self.own, self.failure = modality, own, ""
        self._compiled: Forward = torch.compile(own, options=OPTIONS)

    def __call__(self, *inputs: Tensor | None, **named: Tensor | None) -> Tensor:
        if self.failure:
            return self.own(*inputs, **named)
        try:
            return self._compiled(*inputs, **named)
        except Exception as error:
            features = self.own(*inputs, **named)  # raises what is not the compiler's fault
            self.give_up(error)
            return features

    def give_up(self, error: Exception) -> None:
        """From now on the encoder runs as it is; the log says why."""
        self.failure = in_words(error)
        LOG.warning("the encoder of '%s' runs without torch.compile: %s", self.modality, self.failure)

    def __deepcopy__(self, memo: dict[int, object]) -> Forward:
        """A copy of the encoder computes with the copy's own weights, and is not compiled."""
        return copy.deepcopy(self.own, memo)

    def __reduce__(self) -> tuple[object, ...]:
        """What is written to a file is the encoder's own `forward`."""
        return getattr, (self.own.__self__, "forward")  # type: ignore[attr-defined]


def compile_encoders(fit: Fit, modalities: Iterable[str]) -> dict[str, Compiled]:
    """Compile the encoders of these modalities, and try each on a batch, forward and backward.

    Returns the compiled ones. One that fails stays as it is, and the log says why.
    """
    compiled = {}
    for m in modalities:
        _allow_versions()
        encoder = fit.model.encoders[m]
        compiled[m] = made = Compiled(m, encoder.forward)
        vars(encoder)["forward"] = made
        try:
            _try(fit, m)
        except Exception as error:
            made.give_up(error)
    return compiled


def _try(fit: Fit, modality: str) -> None:
    """One pass forward and backward as in training, which leaves no trace: no gradients, and no state of the pass."""
    encoder = fit.model.encoders[modality]
    count = min(fit.settings.batch_size, len(fit.train))
    inputs = fit.train.batch(torch.arange(count, device=fit.train.target.device)).inputs
    modes = [(part, part.training) for part in encoder.modules()]
    kept = [(tensor, tensor.detach().clone()) for tensor in chain(encoder.parameters(), encoder.buffers())]
    places = [place for part in encoder.modules() for place in (vars(part), part._parameters, part._buffers)]
    held = [(place, dict(place)) for place in places]
    encoder.train()
    try:
        with process_state_kept(), fit.autocast():
            features = fit.model.encode_one(modality, inputs.values[modality], inputs.lengths.get(modality))
        learned = [p for p in encoder.parameters() if p.requires_grad]
        if features.requires_grad and learned:
            torch.autograd.grad(features.float().sum(), learned, allow_unused=True)
    finally:
        for place, before in held:
            place.clear()
            place.update(before)
        with torch.no_grad():
            for tensor, value in kept:
                tensor.copy_(value)
        for part, training in modes:
            part.training = training


def _allow_versions() -> None:
    """Let PyTorch compile more versions of one function than it would, before it stops compiling it."""
    with suppress(AttributeError, ImportError):
        config = torch._dynamo.config
        config.cache_size_limit = max(config.cache_size_limit, VERSIONS)
