"""Checks of encoders alone: tokens and stages, padding, and weights that follow the name of the modality."""

import torch
from torch import Tensor

from mcr_bench.bench.core.seeds import generator, initialise
from mcr_bench.bench.models.multimodal import MultimodalModel
from mcr_bench.bench.models.parts import has_part, pooled_stages, stages_of, tokens_of
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.problem.samples import Inputs
from mcr_bench.bench.testing.card import Failed, NotApplicable
from mcr_bench.bench.testing.nets import giving
from mcr_bench.bench.testing.nets.cases import WIDTH, differ, drawn_values, rows
from mcr_bench.bench.testing.nets.encoder_case import NAME, EncoderCase


def parts(case: EncoderCase) -> None:
    """Tokens (B, T, d) with a mask (B, T), and stages (B, ...), of several batch sizes."""
    model = case.drawn().eval()
    encoder, kind = case.part(model), case.encoder.kind
    if (kind.tokens, kind.stages) != (has_part(encoder, "tokens"), has_part(encoder, "stages")):
        raise Failed(f"it declares tokens={kind.tokens} and stages={kind.stages}, and its module has others")
    if not kind.tokens and not kind.stages:
        raise NotApplicable("it gives neither tokens nor stages")
    for count in giving.COUNTS:
        inputs = case.inputs(count)
        values, lengths = inputs.values[NAME], inputs.lengths.get(NAME)
        if kind.tokens:
            _check_tokens(*tokens_of(encoder, values, lengths), count)
        for place, stage in enumerate(stages_of(encoder, values, lengths) if kind.stages else []):
            if stage.ndim < 2 or len(stage) != count:
                raise Failed(f"stage {place} is {tuple(stage.shape)} for {count} samples; needed: (samples, ...)")
            giving.require_finite(stage, f"stage {place} has")
    _check_samples(case)
    if kind.tokens:
        _check_gradient(case)


def _check_gradient(case: EncoderCase) -> None:
    """A gradient comes back through tokens that depend on what is trained; those of a frozen net have none."""
    model, inputs = case.drawn(), case.inputs(4)
    tokens, _ = tokens_of(case.part(model).train(), inputs.values[NAME], inputs.lengths.get(NAME))
    if tokens.requires_grad:
        return
    before = _real_tokens(case, model, inputs)
    with torch.no_grad():
        for parameter in giving.trainable(case.part(model)).values():
            parameter.add_(torch.sin(torch.arange(parameter.numel()).reshape(parameter.shape)))
    if any(map(differ, before, _real_tokens(case, model, inputs))):
        raise Failed("no gradient comes back through its tokens")


def _check_samples(case: EncoderCase) -> None:
    """Real tokens and pooled stages of a sample are the same again, and the same alone as beside others."""
    model, inputs = case.ready.model, case.inputs(5)
    together = _pieces(case, model, inputs)
    for told, again in (
        ("at the second call", _pieces(case, model, inputs)),
        ("alone than beside others", [_pieces(case, model, rows(inputs, [n]))[0] for n in range(len(inputs))]),
    ):
        for first, second in zip(together, again, strict=True):
            if any(x.shape != y.shape or differ(x, y) for x, y in zip(first, second, strict=True)):
                raise Failed(f"in evaluation a sample has other tokens or stages {told}")


def _pieces(case: EncoderCase, model: MultimodalModel, inputs: Inputs) -> list[list[Tensor]]:
    """The real tokens (T, d) of every sample, and each of its stages pooled to (K,)."""
    encoder, kind = case.part(model).eval(), case.encoder.kind
    with torch.no_grad():
        stages = stages_of(encoder, inputs.values[NAME], inputs.lengths.get(NAME)) if kind.stages else []
        pooled = pooled_stages(stages)
    pieces = [[stage[n] for stage in pooled] for n in range(len(inputs))]
    tokens = _real_tokens(case, model, inputs)
    return [[*tokens[n : n + 1], *own] for n, own in enumerate(pieces)]


def inputs_kept(case: EncoderCase) -> None:
    """A pass, in training or in evaluation, does not write to the samples that it is given."""
    model = case.drawn()
    for training in (True, False):
        inputs = case.inputs(4)
        case.outputs(model.train(training), inputs)
        case.further(model, inputs)
        if not torch.equal(inputs.values[NAME], case.inputs(4).values[NAME]):
            raise Failed("it writes to the samples that it is given")


def _check_tokens(tokens: Tensor, mask: Tensor, count: int) -> None:
    if tokens.ndim != 3 or tokens.shape[::2] != (count, WIDTH):
        raise Failed(f"tokens are {tuple(tokens.shape)}; needed: ({count}, T, {WIDTH}), (samples, T, width)")
    if mask.dtype != torch.bool or mask.shape != tokens.shape[:2]:
        raise Failed(f"the mask is {tuple(mask.shape)} of {mask.dtype}; needed: {tuple(tokens.shape[:2])} of bool")
    if not mask.any(1).all():
        raise Failed("the mask leaves a sample without a real token")
    giving.require_finite(tokens[mask], "real tokens have")


def padding(case: EncoderCase) -> None:
    """Features and real tokens depend on the real steps alone."""
    if not case.modality.padded:
        raise NotApplicable("it takes no padded samples")
    if case.encoder.kind.sees_padding:
        raise NotApplicable("its forward does not take `lengths`, so padded steps count as zeros")
    model, inputs = case.ready.model, case.inputs(5, 3)
    whole, tokens = giving.given(case, model, inputs), _real_tokens(case, model, inputs)
    if apart := differ(whole, giving.given(case, model, _noisy(inputs, case.modality))):
        raise Failed(f"features change with what padded steps hold ({apart})")
    cut = [place for place in range(len(inputs)) if _cut_is_equal(case, model, inputs, place, whole, tokens)]
    if not cut:
        raise NotApplicable("it takes sequences of one length only")


def _noisy(inputs: Inputs, modality: Modality) -> Inputs:
    """The inputs with something else in padded steps."""
    values, lengths = inputs.values[NAME], inputs.lengths[NAME]
    padded = torch.arange(values.shape[1]) >= lengths[:, None]
    noise = drawn_values(len(values), modality, generator(0, "data", "noise"))
    return inputs.replace({NAME: torch.where(padded.reshape(*padded.shape, *[1] * (values.ndim - 2)), noise, values)})


def _cut_is_equal(
    case: EncoderCase, model: MultimodalModel, inputs: Inputs, place: int, whole: Tensor, tokens: list[Tensor]
) -> bool:
    """Whether a sample can be given without its padded steps; `Failed` where it then gives something else."""
    one, steps = rows(inputs, [place]), int(inputs.lengths[NAME][place])
    cut = one.replace({NAME: one.values[NAME][:, :steps]})
    try:
        features, own = giving.given(case, model, cut), _real_tokens(case, model, cut)
    except Exception:  # a net for one length alone may fail in any way
        return False
    if apart := differ(whole[place], features[0]):
        raise Failed(f"features of {steps} steps change with the number of padded steps behind them ({apart})")
    for first, second in zip(tokens[place : place + 1], own, strict=False):
        if first.shape != second.shape:
            raise Failed(f"a sample of {steps} steps has {len(first)} real tokens with padding, {len(second)} without")
        if apart := differ(first, second):
            raise Failed(f"real tokens change with the number of padded steps behind them ({apart})")
    return True


def _real_tokens(case: EncoderCase, model: MultimodalModel, inputs: Inputs) -> list[Tensor]:
    """The real tokens (T, d) of every sample; empty for an encoder without tokens."""
    encoder = case.part(model).eval()
    if not case.encoder.kind.tokens:
        return []
    with torch.no_grad():
        tokens, mask = tokens_of(encoder, inputs.values[NAME], inputs.lengths.get(NAME))
    return [own[real] for own, real in zip(tokens, mask, strict=True)]


def order_of_modalities(case: EncoderCase) -> None:
    """The initial weights of a modality's encoder do not depend on the other modalities."""
    alone, beside = case.drawn(), case.model("before", "between")
    initialise(beside, 0)
    second = case.part(beside).state_dict()
    other = [name for name, x in case.part(alone).state_dict().items() if not torch.equal(x, second[name])]
    if other:
        raise Failed(f"the initial values of {giving.named(other)} depend on the modalities that come before")
