"""Checks of what a net gives: shapes and numbers, in evaluation the same again, each sample by itself."""

import torch
from torch import Tensor, nn

from mcr_bench.bench.models.multimodal import MultimodalModel
from mcr_bench.bench.models.own.trial import trial
from mcr_bench.bench.problem.samples import Inputs
from mcr_bench.bench.testing.card import Failed
from mcr_bench.bench.testing.effects import changes, draws, seeds
from mcr_bench.bench.testing.nets.cases import NetCase, differ, rows

COUNTS = (1, 2, 5)


def given(case: NetCase, model: MultimodalModel, inputs: Inputs) -> Tensor:
    """The outputs (B, K) in evaluation, without gradients."""
    model.eval()
    with torch.no_grad():
        return case.outputs(model, inputs)


def shapes(case: NetCase) -> None:
    """(B, K) finite numbers of single precision for batches of several sizes, in training and in evaluation."""
    model = case.drawn()
    for count in COUNTS:
        for training in (False, True):
            model.train(training)
            if training and count == 1:
                continue  # `one_sample` looks at it
            _require(
                case.outputs(model, case.inputs(count)), (count, case.size), "training" if training else "evaluation"
            )


def _require(outputs: Tensor, shape: tuple[int, int], mode: str) -> None:
    if tuple(outputs.shape) != shape:
        raise Failed(f"in {mode} it gave {tuple(outputs.shape)} for {shape[0]} samples; needed: {shape}")
    if outputs.dtype != torch.float32:
        raise Failed(f"in {mode} it gave {outputs.dtype} for float32; needed: float32")
    require_finite(outputs, f"in {mode} it gave")


def require_finite(x: Tensor, told: str) -> None:
    """`Failed` for numbers that are not finite. told: the sentence up to the numbers."""
    wrong = int((~torch.isfinite(x)).sum())
    if wrong:
        raise Failed(f"{told} {wrong} of {x.numel()} numbers that are not finite")


def the_same_again(case: NetCase) -> None:
    """In evaluation the same samples give the same bits, whatever the global generators are at."""
    model, inputs = case.drawn(), case.inputs(4)
    first = given(case, model, inputs)
    torch.default_generator.manual_seed(99)
    again = given(case, model, inputs)
    if not torch.equal(first, again):
        apart = float((first - again).abs().max())
        raise Failed(f"in evaluation the same samples gave other outputs at the second call (by up to {apart:.3g})")


def no_draws(case: NetCase) -> None:
    """A pass in evaluation draws from no global generator, and one in training seeds none."""
    model, inputs = case.drawn(), case.inputs(4)
    given(case, model, inputs)
    drawn = draws(lambda: given(case, model, inputs))
    if drawn:
        raise Failed(f"a pass in evaluation moved {' and '.join(drawn)}")
    if seeded := seeds(lambda: case.outputs(model.train(), inputs)):
        raise Failed(f"a pass seeds {' and '.join(seeded)}: every step of training would draw the same numbers")


def one_by_one(case: NetCase) -> None:
    """In evaluation a sample gives the same whatever stands beside it in the batch."""
    model, inputs = case.ready.model, case.inputs(5)
    together = given(case, model, inputs)
    for place in range(len(inputs)):
        alone = given(case, model, rows(inputs, [place]))[0]
        if apart := differ(together[place], alone):
            raise Failed(f"in evaluation a sample alone gives other outputs than beside others ({apart})")
    turned = given(case, model, rows(inputs, [4, 3, 2, 1, 0])).flip(0)
    if apart := differ(together, turned):
        raise Failed(f"in evaluation a sample gives other outputs in another order of the batch ({apart})")


def nothing_changed(case: NetCase) -> None:
    """Making the net and training it change nothing of the process beside torch's random state."""

    def use() -> None:
        given(case, case.trained(case.drawn(), steps=1), case.inputs(2))

    with trial():
        use()  # what is changed at the first use alone, such as a library's own cache, is not the net's doing
    left = changes(use)
    if left:
        raise Failed(f"making, training or calling it changed the process: {'; '.join(left)}")


def buffers_kept(case: NetCase) -> None:
    """A pass in evaluation leaves parameters and buffers as they are."""
    model = case.trained(case.drawn())
    before = {name: x.clone() for name, x in case.part(model).state_dict().items()}
    given(case, model, case.inputs(5))
    changed = [name for name, x in case.part(model).state_dict().items() if not torch.equal(x, before[name])]
    if changed:
        raise Failed(f"a pass in evaluation changed {named(changed)}")


def named(names: list[str], most: int = 5) -> str:
    """Names of parameters in quotes, the first few of many."""
    told = ", ".join(f"'{name}'" for name in names[:most])
    return told if len(names) <= most else f"{told} and {len(names) - most} more"


def trainable(net: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that require a gradient, by name."""
    return {name: p for name, p in net.named_parameters() if p.requires_grad}
