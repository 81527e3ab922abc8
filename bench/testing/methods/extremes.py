"""Properties of hard cases: one sample, a modality that says nothing, saturated logits, bfloat16."""

from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor, nn

from mcr_bench.bench.testing.card import Failed, NotApplicable, Property
from mcr_bench.bench.testing.fits import whole_batch
from mcr_bench.bench.testing.trials.comparing import first_difference, odd_gradient, odd_term
from mcr_bench.bench.testing.trials.epochs import step
from mcr_bench.bench.testing.trials.gates import exact, sound
from mcr_bench.bench.testing.trials.trials import Trials
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
    for name, setup in islice(trials.setups(), 2):  # one of classes, as a rule, and one of scores
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
@exact
def dropped_modality(trials: Trials) -> None:
    """A modality that a step drops for some samples teaches nothing about them, whatever its input is."""
    setup = replace(
        trials.with_count(trials.working(2, 3)[0]), dtype=torch.float64, training={"optimizer__name": "sgd"}
    )
    names = trials.cls.variants(setup.modalities)[0]
    if len(names) == 1:
        raise NotApplicable("it trains one modality at a time")
    for m in names:
        mine, theirs = (_without(trials.start(setup), m, factor) for factor in (1.0, -3.0))
        if difference := first_difference(mine, theirs, 1e-12):
            raise Failed(f"where '{m}' is dropped, its input still counts: {difference} with another input")


def _without(method: Method, modality: str, factor: float) -> dict[str, Tensor]:
    """The weights after a step that drops a modality for every third sample, whose inputs are multiplied by `factor`.

    They should not count.
    """
    batch = whole_batch(method.fit)
    flags = batch.index % 3 == 0
    x = batch.inputs.values[modality]
    inputs = batch.inputs.replace({modality: torch.where(flags[:, None], factor * x, x)})
    step(method, replace(batch, inputs=inputs, dropped={modality: flags}))
    return method.fit.model.state_dict()


@sound
def saturated_logits(trials: Trials) -> None:
    """Features that are ten thousand times as large, of a whole batch and of one in which nothing varies."""
    for name, setup in trials.setups():
        for samples in (None, torch.tensor([1, 1])):
            method = trials.start(setup)
            for encoder in method.fit.model.encoders.values():
                encoder.register_forward_hook(lambda _module, _inputs, features: features * LARGE)
            batch = None if samples is None else method.fit.train.batch(samples)
            what = f"logits of about {LARGE:.0e}{'' if samples is None else ' of one sample twice'}, {name}"
            _require_finite(method, what, batch, steps=2 if samples is None else 1)


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
            terms = method.loss(outputs, batch)
        if not getattr(
            fit.model.fusion, "reads", ()
        ):  # a head that reads tokens gives logits of the precision of the pass
            terms = {"the logits": outputs.logits, **terms}
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
        "dropped-modality",
        "a modality that a step drops for some samples does not count there",
        "Hand batch.dropped on: self.fit.model(batch.inputs, dropped=batch.dropped), or self.fit.model.drop(features, "
        "batch.dropped) before features are fused.",
        dropped_modality,
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
        "Compute terms from promoted features: f = promoted(f), and with full_precision(f.device): ... around products "
        "of matrices, both of mcr_bench.bench.core.precision. Make new tensors like given ones: x.new_zeros(...).",
        bfloat16,
    ),
)
