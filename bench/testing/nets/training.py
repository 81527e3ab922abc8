"""Checks of how a net is trained: gradients, weights and their draws, bfloat16, state, and what makes the host wait."""

import io
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from mcr_bench.bench.core.device import kernels_of_all_machines
from mcr_bench.bench.core.seeds import reseed_libraries
from mcr_bench.bench.models.multimodal import MultimodalModel
from mcr_bench.bench.models.own.modules import zero_padded
from mcr_bench.bench.problem.samples import Inputs
from mcr_bench.bench.testing.card import Failed, NotApplicable
from mcr_bench.bench.testing.effects import seeds
from mcr_bench.bench.testing.nets.cases import NetCase, backward, loss_of
from mcr_bench.bench.testing.nets.giving import given, named, require_finite, trainable
from mcr_bench.bench.testing.waits import META, Waits

FARTHEST = (
    0.25  # of outputs under bfloat16 from those of single precision, in root mean square over that of the outputs
)


def gradients(case: NetCase) -> None:
    """The gradients of all parameters are finite."""
    model = case.drawn().train()
    backward(loss_of(case, model, case.inputs(8), whole=True))
    for name, parameter in trainable(case.part(model)).items():
        if parameter.grad is not None:
            require_finite(parameter.grad, f"the gradient of '{name}' has")


def reached(case: NetCase) -> None:
    """The optimiser moves every parameter."""
    if not case.trains_all:
        raise NotApplicable("parameters may be without effect here")
    before, model = case.ready
    after = trainable(case.part(model))
    if not after:
        raise NotApplicable("it has no parameters to train")
    still = [name for name, p in after.items() if torch.equal(p, before[name])]
    if still:
        raise Failed(f"the optimiser never moves {named(still)}")


def one_sample(case: NetCase) -> None:
    """A batch of one sample can be trained on: outputs and gradients are finite."""
    model = case.drawn().train()
    for place in range(2):
        outputs = case.outputs(model, case.inputs(1, place))
        require_finite(outputs, "in training it gave for a single sample")
    backward(loss_of(case, model, case.inputs(1)))
    for name, parameter in trainable(case.part(model)).items():
        if parameter.grad is not None:
            require_finite(parameter.grad, f"after a single sample the gradient of '{name}' has")


def one_step(case: NetCase) -> None:
    """Padded samples of a single real step give finite outputs and gradients, alone and in a batch of nothing else."""
    if not any(modality.padded for modality in case.modalities.values()):
        raise NotApplicable("it takes no padded samples")
    model, (alone, several) = case.drawn(), (_of_one_step(case.inputs(count)) for count in (1, 4))
    require_finite(given(case, model, alone), "for a sample of one real step it gave")
    _require_trainable(case, model, lambda: case.outputs(model, several), "for samples of one real step each")


def _of_one_step(inputs: Inputs) -> Inputs:
    lengths = {m: torch.ones_like(n) for m, n in inputs.lengths.items()}
    return Inputs({m: zero_padded(x, lengths.get(m)) for m, x in inputs.values.items()}, lengths)


def absent(case: NetCase) -> None:
    """A batch in which every sample lacks a modality gives finite outputs and gradients."""
    model, inputs = case.drawn(), case.inputs(4)
    for m in case.modalities:
        told = f"where every sample lacks '{m}'" if len(case.modalities) > 1 else "for samples that are all 0"
        _require_trainable(case, model, partial(case.without, model, inputs, m), told)


def _require_trainable(case: NetCase, model: MultimodalModel, outputs: Callable[[], Tensor], told: str) -> None:
    """`Failed` for outputs, in evaluation or training, or gradients that are not finite."""
    model.eval()
    require_finite(outputs(), f"{told}, in evaluation it gave")
    model.train().zero_grad()
    logits = outputs()
    require_finite(logits, f"{told}, in training it gave")
    backward(logits.float().square().mean())
    for name, parameter in trainable(case.part(model)).items():
        if parameter.grad is not None:
            require_finite(parameter.grad, f"{told} the gradient of '{name}' has")


def half_precision(case: NetCase) -> None:
    """Under autocast to bfloat16 outputs and gradients are finite, and outputs close to those of single precision."""
    model, inputs = case.drawn(), case.inputs(8)
    whole = given(case, model, inputs)
    with kernels_of_all_machines():
        with torch.autocast("cpu", torch.bfloat16):
            half = given(case, model, inputs).float()
            require_finite(half, "under bfloat16 it gave")
            loss = loss_of(case, model.train(), inputs, whole=True)
        backward(loss)
    for name, parameter in trainable(case.part(model)).items():
        if parameter.grad is not None:
            require_finite(parameter.grad, f"under bfloat16 the gradient of '{name}' has")
    apart, size = (half - whole).square().mean().sqrt(), whole.square().mean().sqrt()
    if apart > FARTHEST * size:
        raise Failed(f"under bfloat16 outputs are off by {float(apart / size):.0%} of their size")


def restored(case: NetCase) -> None:
    """A trained net is restored from its state dict, through a file, to the same bits."""
    first, second = case.ready.model, case.drawn(seed=1)
    file = io.BytesIO()
    torch.save(case.part(first).state_dict(), file)
    file.seek(0)
    try:
        state = torch.load(file, weights_only=True)
    except Exception as error:
        raise Failed(f"its state dict holds something else than tensors and plain values: {error}") from error
    try:
        case.part(second).load_state_dict(state)
    except RuntimeError as error:
        raise Failed(f"its state dict does not load into a net that was just made: {error}") from error
    others = {name: x for name, x in first.state_dict().items() if name not in _names_in(case, first)}
    second.load_state_dict({**second.state_dict(), **others})
    if not torch.equal(given(case, first, case.inputs(4, 5)), given(case, second, case.inputs(4, 5))):
        raise Failed("a net that is restored from the state dict of a trained one gives other outputs")


def _names_in(case: NetCase, model: MultimodalModel) -> set[str]:
    """The names, in the state of the model, of the net's own state."""
    part = case.part(model)
    prefix = next(name for name, module in model.named_modules() if module is part)
    return {f"{prefix}.{name}" for name in part.state_dict()}


def drawn_by_seed(case: NetCase) -> None:
    """The initial weights follow the seed alone, whatever was made or drawn before."""
    if seeded := seeds(case.model):
        raise Failed(f"its constructor seeds {' and '.join(seeded)}: every seed gives the same initial weights")
    first = case.drawn().state_dict()
    torch.default_generator.manual_seed(7)
    reseed_libraries(7, "method", "before")
    case.drawn(seed=1)
    second = case.drawn().state_dict()
    other = [name for name, x in first.items() if not torch.equal(x, second[name])]
    if other:
        raise Failed(f"the same seed gave other initial values of {named(other)}")


def no_waiting(case: NetCase) -> None:
    """Within a step nothing makes the host wait for a GPU."""
    model, inputs = case.drawn().to(META).train(), _on_meta(case.inputs(4))
    with Waits() as noted:
        try:
            backward(loss_of(case, model, inputs, whole=True))
            if noted.seen:  # the first step may make what the others use
                noted.seen.clear()
                backward(loss_of(case, model, inputs, whole=True))
        except Exception as error:
            if not noted.seen:
                raise NotApplicable(f"torch cannot run it without numbers ({type(error).__name__}: {error})") from error
    told = ", ".join(dict.fromkeys(noted.seen))
    if case.waits and not told and case.waits_if_anywhere:
        raise Failed(f"it states waits = {case.waits!r}, but nothing in a step waits: delete it")
    if case.waits:
        raise NotApplicable(f"it states why it waits: {case.waits}")
    if told:
        raise Failed(f"a step makes the host wait for the device: {told}")


def _on_meta(inputs: Inputs) -> Inputs:
    return Inputs({m: x.to(META) for m, x in inputs.values.items()}, {m: n.to(META) for m, n in inputs.lengths.items()})
