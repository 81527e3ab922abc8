"""What a network did in its owner's last training pass: each encoder's inputs and features, and the fusion's call."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mcr_bench.bench.errors import UserError

Seen = Callable[[nn.Module, tuple[object, ...], dict[str, object], object], None]


class Pass(NamedTuple):
    """An encoder's pass: its arguments by place and by name, and the features (B, d) that it gave."""

    arguments: tuple[object, ...]
    named: dict[str, object]
    features: Tensor

    @property
    def inputs(self) -> list[object]:
        """All arguments, those by place first."""
        return [*self.arguments, *self.named.values()]


class Watch:
    """A forward hook. A copy of the network, such as a moving average of its weights, is not watched."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def __call__(
        self, module: nn.Module, arguments: tuple[object, ...], named: dict[str, object], made: object
    ) -> None:
        self._seen(module, arguments, named, made)

    def __reduce__(self) -> tuple[type["Watch"], tuple[Seen]]:
        return Watch, (_unseen,)


def _unseen(module: nn.Module, arguments: tuple[object, ...], named: dict[str, object], made: object) -> None:
    """Nobody looks."""


def is_training(encoder: nn.Module) -> bool:
    """Whether a pass of an encoder may be one that is trained on; of one that is frozen every pass may be."""
    if not any(p.requires_grad for p in encoder.parameters()):
        return True
    return encoder.training and torch.is_grad_enabled()


def features_of(modality: str, made: object) -> Tensor:
    """What an encoder gave, as features; UserError where it is not one tensor."""
    if isinstance(made, Tensor):
        return made
    raise UserError(
        f"the encoder of '{modality}' gives a {type(made).__name__}, not one tensor (B, d). Give `encoders` a module "
        "whose output is the features alone."
    )


def require_apart(encoders: Mapping[str, nn.Module]) -> None:
    """UserError where one module encodes several modalities, as its passes cannot be told apart."""
    owner: dict[int, str] = {}
    for m, encoder in encoders.items():
        first = owner.setdefault(id(encoder), m)
        if first != m:
            raise UserError(
                f"'{first}' and '{m}' have one encoder, so its passes cannot be told apart. Give each modality a "
                "module of its own; two that call the shared one will do, unless the method scales gradients."
            )


def require_of(logits: Tensor, features: Mapping[str, Tensor]) -> None:
    """UserError where logits were not computed from these features, but from those of an earlier pass."""
    wanted = {one.grad_fn for one in features.values() if one.grad_fn is not None}
    to_see, known = [logits.grad_fn], set()
    while to_see and wanted:
        node = to_see.pop()
        if node in wanted:
            return
        if node is not None and node not in known:
            known.add(node)
            to_see += [before for before, _ in node.next_functions]
    if wanted:
        raise UserError(
            "the logits are not those of the last forward pass in training mode. Call `backward` after each pass, "
            "before the next one."
        )
