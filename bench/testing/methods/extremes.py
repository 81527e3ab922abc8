"""Properties of hard cases: one sample, a modality that says nothing, saturated logits, bfloat16."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from mcr_bench.bench.testing.card import Failed, Property
from mcr_bench.bench.testing.fits import whole_batch
from mcr_bench.bench.testing.methods.comparing import odd_gradient, odd_term
from mcr_bench.bench.testing.methods.epochs import step
from mcr_bench.bench.testing.methods.trials import Trials, sound
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Method

LARGE = 1e4  # what features are multiplied with


def _require_finite(method: Method, where: str, batch: Batch | None = None, steps: int = 2) -> None:
    for _ in range(steps):
        step(method, batch)
        if odd := odd_term(method) or odd_gradient(method):
            raise Failed(f"{where}: {odd}")


@sound
def batch_of_one(trials: Trials) -> None:
    """The last batch of an epoch may hold one sample."""
    for name, setup in trials.setups():
        method = trials.start(setup)
        _require_finite(method, f"one sample, {name}", method.fit.train.batch(torch.tensor([1])), steps=1)


@sound
def dead_modality(trials: Trials) -> None:
    """A modality whose input is zero, and one whose features are: no spread, no norm, no gradient."""
    for name, setup in trials.setups():
        modalities = trials.cls.variants(setup.modalities)[0]
        part = setup.part(modalities)
        for m in modalities:
            dead = replace(part, values={**part.values, m: torch.zeros(len(part), setup.width, dtype=setup.dtype)})
            _require_finite(trials.start(setup, data=dead), f"the input of '{m}' is zero, {name}")
            method = trials.start(setup)
            method.fit.model.encoders[m].register_forward_hook(_nothing)
            _require_finite(method, f"the features of '{m}' are zero, {name}")


def _nothing(_module: nn.Module, _inputs: object, features: Tensor) -> Tensor:
    return features * 0


@sound
def saturated_logits(trials: Trials) -> None:
    """Features that are ten thousand times as large."""
    for name, setup in trials.setups():
        method = trials.start(setup)
        for encoder in method.fit.model.encoders.values():
            encoder.register_forward_hook(lambda _module, _inputs, features: features * LARGE)
        _require_finite(method, f"logits of about {LARGE:.0e}, {name}")


@sound
def bfloat16(trials: Trials) -> None:
    """Under precision=bf16 it trains, and its terms have full precision from the features on."""
    for name, setup in trials.setups():
        method = trials.start(replace(setup, training={"precision": "bf16"}))
        fit = method.fit
        _require_finite(method, f"precision=bf16, {name}")
        for key, parameter in fit.model.named_parameters():
            if parameter.dtype != torch.float32:
                raise Failed(f"precision=bf16, {name}: {key} has become {parameter.dtype}")
        batch = whole_batch(fit)
        with fit.autocast():
            outputs = method.forward(batch)
            terms = {"the logits": outputs.logits, **method.loss(outputs, batch)}
        for term, value in terms.items():
            if value.dtype != torch.float32:
                raise Failed(f"precision=bf16, {name}: '{term}' is {value.dtype}, not torch.float32")


PROPERTIES = (
    Property(
        "batch-of-one",
        "a batch of one sample trains",
        "A standard deviation of one sample is nan: std(correction=0); other samples to compare with may be missing.",
        batch_of_one,
    ),
    Property(
        "dead-modality",
        "a modality that is zero everywhere does not spoil the training of the others",
        "Norms, deviations and cosines of zeros are 0: add an epsilon to what is divided by, inside of square roots.",
        dead_modality,
    ),
    Property(
        "saturated-logits",
        "saturated logits leave everything finite",
        "Use log_softmax and logsumexp instead of log(softmax(...)), and clamp probabilities before a logarithm or a "
        "division.",
        saturated_logits,
    ),
    Property(
        "bf16",
        "under precision=bf16 it trains, and its terms keep full precision",
        "Compute terms from features inside mcr_bench.bench.core.precision.full_precision, and make new tensors like "
        "given ones: torch.zeros_like(x), x.new_zeros(...).",
        bfloat16,
    ),
)
