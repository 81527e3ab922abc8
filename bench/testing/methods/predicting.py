"""Properties of predictions: their shape, their independence of other samples, and that they change nothing."""

from dataclasses import replace

import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.returns import checked_outputs
from mcr_bench.bench.models.multimodal import Inputs
from mcr_bench.bench.testing.card import Failed, NotApplicable, Property
from mcr_bench.bench.testing.trials.comparing import first_difference
from mcr_bench.bench.testing.trials.epochs import train
from mcr_bench.bench.testing.trials.gates import exact, sound, usable
from mcr_bench.bench.testing.trials.setups import NORMED, Setup
from mcr_bench.bench.testing.trials.trials import Trials
from mcr_bench.bench.training.growth import keep_grown
from mcr_bench.methods.base import Method

ROUNDING = 1e-9  # largest difference in float64 of sums over batches of different sizes
CHUNKS = (7, 1)


@usable
def predictions(trials: Trials) -> None:
    """Logits of one sample and of several, for every task."""
    for name, setup in trials.setups():
        method = _ready(trials, setup)
        for count in (1, 5):
            try:
                logits = _logits(method, _rows(method, torch.arange(count)))
            except UserError as error:
                raise Failed(f"{count} samples, {name}: {error}") from error
            if not logits.isfinite().all():
                raise Failed(f"{count} samples, {name}: the prediction is not finite")


@usable
@exact
def each_alone(trials: Trials) -> None:
    """A sample is predicted alike alone, in a chunk and among all others, with batch norm too."""
    method = _ready(trials, replace(trials.usual, dtype=torch.float64, encoder=NORMED))
    every = torch.arange(len(method.fit.train))
    whole = _predicted(method, _rows(method, every))
    for size in CHUNKS:
        parts = torch.cat([_predicted(method, _rows(method, index)) for index in every.split(size)])
        if difference := first_difference({"the prediction": parts}, {"the prediction": whole}, ROUNDING):
            raise Failed(f"{size} samples at a time, {difference} from that of all samples at once")


@usable
def nothing_changed(trials: Trials) -> None:
    """Predicting twice gives the same, and leaves the model, its mode and the inputs as they were."""
    method = _ready(trials, replace(trials.usual, encoder=NORMED))
    model, inputs = method.fit.model, _rows(method, torch.arange(9))
    state, given = _copied(model.state_dict()), _copied(inputs.values)
    first, second = _predicted(method, inputs), _predicted(method, inputs)
    if model.training or any(part.training for part in model.modules()):
        raise Failed("after predict() the model is in training mode")
    changed = first_difference(state, model.state_dict()) or first_difference(given, inputs.values)
    if changed:
        raise Failed(f"predict() changes the model or its inputs: {changed}")
    if difference := first_difference({"the prediction": first}, {"the prediction": second}):
        raise Failed(f"predicted twice, {difference}")


@sound
def of_kept_weights(trials: Trials) -> None:
    """The weights of an earlier epoch predict at the end what they predicted then, as the best epoch's do."""
    method = _ready(trials, trials.usual)
    fit, some = method.fit, torch.arange(9)
    weights, grown = _copied(fit.model.state_dict()), [*fit.grown]
    before, again = (_predicted(method, _rows(method, some)) for _ in range(2))
    if not torch.equal(before, again):
        raise NotApplicable("not checked, as predicting twice differs already")
    train(method, 2)
    keep_grown(fit, grown)
    fit.model.load_state_dict(weights)
    after = _predicted(method, _rows(method, some))
    if difference := first_difference({"the prediction": before}, {"the prediction": after}):
        raise Failed(f"with the weights of epoch 1, {difference} between then and two epochs later")


def _ready(trials: Trials, setup: Setup) -> Method:
    """The method after an epoch, in evaluation mode."""
    method = trials.start(setup)
    if trials.cls.trains:
        train(method)
    method.fit.model.eval()
    return method


def _rows(method: Method, index: Tensor) -> Inputs:
    return method.fit.train.batch(index).inputs


def _predicted(method: Method, inputs: Inputs) -> Tensor:
    """The logits of a prediction; NotApplicable where they have a wrong form, which another property tells."""
    try:
        return _logits(method, inputs)
    except UserError as error:
        raise NotApplicable("not checked, as a prediction has a wrong form") from error


@torch.no_grad()
def _logits(method: Method, inputs: Inputs) -> Tensor:
    fit = method.fit
    fit.model.eval()
    outputs = method.predict(fit.model, inputs)
    return checked_outputs(method, "predict", outputs, len(inputs), fit.task.outputs).logits.clone()


def _copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


PROPERTIES = (
    Property(
        "predictions",
        "a prediction has finite logits, one row per sample and one column per output, for one sample too",
        "Return Outputs from predict(); dataclasses.replace(super().predict(model, inputs), logits=logits, "
        "branch_logits=None) changes the logits. squeeze() without an axis drops the batch of one.",
        predictions,
    ),
    Property(
        "predictions-of-each-alone",
        "the prediction of a sample does not depend on the samples beside it",
        "Use no mean, deviation or rank over the batch in predict(), and do not switch the model to training mode: "
        "keep what was learned in training.",
        each_alone,
    ),
    Property(
        "predicting-changes-nothing",
        "predicting twice gives the same, and changes neither model nor inputs",
        "predict() draws nothing, writes nothing in place, and leaves model.train() and model.eval() alone.",
        nothing_changed,
    ),
    Property(
        "predictions-of-kept-weights",
        "a prediction depends on the model's weights and on the inputs alone, so that the best epoch can be tested",
        "Put what predict() needs and training changes into model.extras, as a parameter or a buffer: an attribute "
        "of the method is that of the last epoch when the best epoch's weights are tested.",
        of_kept_weights,
    ),
)
