"""Checks of fusion heads alone: branches, owners of parameters, the order of modalities, saturated features."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mcr_bench.bench.models.fusion import sum_of
from mcr_bench.bench.models.multimodal import MultimodalModel
from mcr_bench.bench.models.own.head_checks import NotAdditive
from mcr_bench.bench.models.parts import Encoded
from mcr_bench.bench.problem.samples import Inputs
from mcr_bench.bench.testing.card import Failed, NotApplicable
from mcr_bench.bench.testing.nets.cases import backward, differ
from mcr_bench.bench.testing.nets.giving import require_finite, trainable
from mcr_bench.bench.testing.nets.head_case import HeadCase, changed, encoded, fused, mapped

SATURATED, NEAR = 1e4, 1e-2


def one_output(case: HeadCase) -> None:
    """The head gives as many outputs as the task has, one for scores too."""
    for outputs in (1, 4):
        logits = case.outputs(case.model_of(case.names, outputs), case.inputs(3))
        if tuple(logits.shape) != (3, outputs):
            raise Failed(f"for a task with {outputs} outputs it gave {tuple(logits.shape)} for 3 samples")


def branches(case: HeadCase) -> None:
    """Branches and bias sum to the logits, and the gradient of a branch reaches its own parameters alone."""
    try:
        case.require()
    except NotAdditive as reason:
        raise Failed(str(reason)) from reason
    model = case.ready.model
    features = case.features(model, 5)
    given, bias = fused(model, features), model.fusion.bias
    if not case.head.kind.additive:
        if given.branch_logits is not None:
            raise Failed("it gives branches, but does not declare itself additive")
        raise NotApplicable("it does not declare itself additive")
    if given.branch_logits is None:
        raise Failed("it declares itself additive, but gives no branches")
    total = sum_of(given.branch_logits) if bias is None else sum_of(given.branch_logits) + bias
    if apart := differ(total, given.logits):
        raise Failed(f"it declares itself additive, but branches and bias do not sum to the logits ({apart})")
    for m in features:
        _own_feature(model, features, m)
        _own_parameters(model, features, m)


def _own_feature(model: MultimodalModel, features: dict[str, Tensor], m: str) -> None:
    """The branch of m changes with the features of m alone."""
    before = _branch(model, features, m)
    for other in features:
        after = _branch(model, changed(features, other), m)
        if other != m and differ(before, after):
            raise Failed(f"its branch of '{m}' changes with the features of '{other}'")


def _own_parameters(model: MultimodalModel, features: dict[str, Tensor], m: str) -> None:
    """The gradient of the branch of m reaches no parameter of another modality."""
    model.zero_grad()
    backward(_branch(model, features, m).square().sum())
    for name, parameter in trainable(model.fusion).items():
        owner = model.fusion.owner(name)
        if owner not in (None, m) and parameter.grad is not None and parameter.grad.any():
            raise Failed(f"the gradient of the branch of '{m}' reaches '{name}', which belongs to '{owner}'")


def _branch(model: MultimodalModel, features: dict[str, Tensor], m: str) -> Tensor:
    logits = fused(model, features).branch_logits
    assert logits is not None
    return logits[m]


def owners(case: HeadCase) -> None:
    """What belongs to a modality by its name depends on its features; a branch has no parameter without owner."""
    model = case.ready.model
    owned = {name: model.fusion.owner(name) for name in trainable(model.fusion)}
    for name, owner in owned.items():
        if owner not in (None, *case.names):
            raise Failed(f"'{name}' belongs to '{owner}', which is not a modality")
    if len(case.names) == 1:
        return
    features = case.features(model, 6)
    for m, sources in _fed(model, features).items():
        if m not in sources:
            raise Failed(f"the modules of `slices['{m}']` are fed by {', '.join(sources) or 'nothing'}, not by '{m}'")
    if case.head.kind.additive:
        for name, sources in _reaching(model, features).items():
            if owned[name] is None and len(sources) == 1:
                raise Failed(f"'{name}' is fed by '{sources[0]}' alone, but belongs to no modality")


def _fed(model: MultimodalModel, features: dict[str, Tensor]) -> dict[str, list[str]]:
    """Modality -> the modalities with whose features the outputs of the layers in its slice change."""
    before = _of_slices(model, features)
    after = {m: _of_slices(model, changed(features, m)) for m in features}
    return {
        owner: [m for m in features if any(map(differ, outputs, after[m][owner]))]
        for owner, outputs in before.items()
        if outputs
    }


def _of_slices(model: MultimodalModel, features: dict[str, Tensor]) -> dict[str, list[Tensor]]:
    """Modality -> what the layers in its slice give, (...) each."""
    seen: dict[str, list[Tensor]] = {}
    hooks = []
    for m, part in getattr(model.fusion, "slices", {}).items():
        given = seen[m] = []
        for layer in part.modules():
            if not list(layer.children()):
                hooks.append(layer.register_forward_hook(partial(_noted, given)))
    with torch.no_grad():
        fused(model, features)
    for hook in hooks:
        hook.remove()
    return seen


def _noted(given: list[Tensor], _layer: nn.Module, _arguments: object, outputs: object) -> None:
    given += [x for x in tree_leaves(outputs) if isinstance(x, Tensor)]


def _reaching(model: MultimodalModel, features: dict[str, Tensor]) -> dict[str, list[str]]:
    """Parameter -> the modalities with whose features its gradient changes."""
    before = _gradients(model, features)
    others = {m: _gradients(model, changed(features, m)) for m in features}
    return {name: [m for m, after in others.items() if differ(x, after[name])] for name, x in before.items()}


def _gradients(model: MultimodalModel, features: dict[str, Tensor]) -> dict[str, Tensor]:
    """The gradients of a fixed linear function of the logits, by parameter; zeros where there is none."""
    model.zero_grad()
    logits = fused(model, features).logits
    weight = torch.linspace(-1.0, 2.0, logits.numel()).reshape(logits.shape)
    backward((weight * logits.float()).sum())
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in trainable(model.fusion).items()
    }


def order(case: HeadCase) -> None:
    """With the same weights the logits do not depend on the order in which the modalities are named."""
    if case.head.kind.ordered:
        raise NotApplicable("it declares that the order matters (`ordered`)")
    if len(case.names) == 1:
        raise NotApplicable("it joins a single modality")
    turned = case.names[1:] + case.names[:1]
    first, second = case.drawn(), case.model_of(turned)
    try:
        second.load_state_dict(first.state_dict())
    except RuntimeError as error:
        raise Failed(f"the names or shapes of its parameters depend on the order of the modalities: {error}") from error
    inputs = case.inputs(5)
    other = Inputs({m: inputs.values[m] for m in turned}, inputs.lengths)
    logits = [case.outputs(model.eval(), x) for model, x in ((first, inputs), (second, other))]
    if apart := differ(*logits):
        raise Failed(f"the logits depend on the order of the modalities ({apart})")


def saturated(case: HeadCase) -> None:
    """Features of size 10,000 give finite logits and gradients."""
    model = case.drawn()
    features = mapped(case.features(model, 4), lambda x: SATURATED * x)
    logits = fused(model.train(), features).logits
    require_finite(logits, f"for features times {SATURATED:,.0f} it gave")
    backward(logits.float().sum())
    for name, parameter in trainable(model.fusion).items():
        if parameter.grad is not None:
            require_finite(parameter.grad, f"for features times {SATURATED:,.0f} the gradient of '{name}' has")


def reads(case: HeadCase) -> None:
    """It reads no more than it declares, and ignores tokens of padded steps."""
    model = case.drawn()
    features = case.features(model, 4)
    if not isinstance(features, Encoded):
        return  # the head was given features alone, in all other checks too
    logits = fused(model, features).logits
    for part, asked in (("tokens", features.tokens), ("stages", features.stages)):
        if asked.asked and part not in model.fusion.reads:
            raise Failed(f"it reads {part}, but `reads` is {model.fusion.reads}")
    noisy = {m: _noisy(*features.tokens[m]) for m in features}
    stages = {m: features.stages[m] for m in features}
    if apart := differ(logits, fused(model, encoded(features, noisy, stages)).logits):
        raise Failed(f"the logits change with tokens that the mask leaves out ({apart})")
    longer = {m: _longer(*features.tokens[m]) for m in features}
    try:
        given = fused(model, encoded(features, longer, stages)).logits
    except Exception:  # a head for so many tokens alone may fail in any way
        return
    if apart := differ(logits, given):
        raise Failed(f"the logits change with the number of tokens that the mask leaves out ({apart})")


def _longer(tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The same tokens, and two more at the end that the mask leaves out."""
    return torch.cat((tokens, tokens[:, :1], tokens[:, :1]), 1), torch.nn.functional.pad(mask, (0, 2))


def _noisy(tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    return torch.where(mask[..., None], tokens, 3 * torch.sin(torch.arange(tokens.numel()).reshape(tokens.shape))), mask


def modalities_used(case: HeadCase) -> None:
    """The logits depend on the features of every modality."""
    model = case.ready.model
    features = case.features(model, 6)
    before = fused(model, features).logits
    unused = [m for m in features if not differ(before, fused(model, changed(features, m)).logits)]
    if unused:
        raise Failed(f"the logits do not depend on {', '.join(unused)}")
    gradients = _squared(case.outputs(model, case.inputs(6)).float(), model.encoders)
    felt = [m for m in features if differ(before, fused(model, changed(features, m, NEAR)).logits)]
    if cut := [m for m in felt if not gradients[m]]:  # one that is chosen for none of the samples has none
        raise Failed(f"no gradient of the logits reaches the encoder of {', '.join(cut)}")


def _squared(logits: Tensor, encoders: nn.ModuleDict) -> dict[str, float]:
    """Modality -> the squared size of the gradient that the parameters of its encoder get from logits (B, C)."""
    total = (logits * torch.linspace(-1.0, 2.0, logits.numel()).reshape(logits.shape)).sum()
    sizes = dict.fromkeys(encoders, 0.0)
    for m, encoder in encoders.items() if total.requires_grad else ():
        given = torch.autograd.grad(total, list(encoder.parameters()), retain_graph=True, allow_unused=True)
        sizes[m] = sum(float(x.square().sum()) for x in given if x is not None)
    return sizes


def logits_given(case: HeadCase) -> None:
    """What it gives are logits, not probabilities; their logarithms are logits with the same loss."""
    model = case.ready.model
    features = case.features(model, 6)
    with torch.no_grad():
        large = mapped(features, lambda x: SATURATED * x)
        given = torch.cat([fused(model, x).logits for x in (features, large)])
    if ((given >= 0) & (given <= 1)).all():
        raise Failed("for features of any size it gives numbers from 0 to 1: probabilities, not logits")


def features_kept(case: HeadCase) -> None:
    """A pass, in training or in evaluation, does not write to features, tokens, masks and stages."""
    model = case.drawn()
    features = case.features(model, 4)
    before = [x.clone() for x in _held(features)]
    for training in (True, False):
        with torch.no_grad():
            fused(model.train(training), features)
        if not all(map(torch.equal, before, _held(features))):
            raise Failed("it writes to the features, tokens or masks that it is given")


def _held(features: dict[str, Tensor]) -> list[Tensor]:
    parts = (features.tokens, features.stages) if isinstance(features, Encoded) else ()
    return [x for x in tree_leaves((dict(features), [list(part.values()) for part in parts])) if isinstance(x, Tensor)]
