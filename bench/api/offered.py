"""Which methods can act in a training loop that is not the harness's, and why others cannot."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from types import CodeType

from mcr_bench.bench.api.own_net import OwnNet
from mcr_bench.bench.errors import UserError
from mcr_bench.methods.base import Method

# Hooks in which a method relies on a loop that it can steer -> what it does there.
OF_THE_LOOP: dict[str, str] = {
    "parameter_groups": "it sets the optimiser's parameter groups",
    "on_epoch_end": "it acts on the evaluation of the validation part after every epoch",
    "epoch_batches": "it chooses the samples of every epoch",
    "grow": "it adds parts to the network while it is trained",
    "predict": "it predicts by other outputs than the network's own",
}


class NotHere:
    """Stands for what a loop of the user's does not give to a method; reading anything of it is a UserError."""

    def __init__(self, method: str, what: str) -> None:
        self._told = f"{method} cannot be used in your own loop: it needs {what}. Train it with `mcr-bench run`."

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # Python asks for these where it copies, prints and compares
            raise AttributeError(name)
        raise UserError(self._told)

    def __getitem__(self, index: object) -> object:
        raise UserError(self._told)

    def __len__(self) -> int:
        raise UserError(self._told)


class NoPart(NotHere):
    """Stands for a part of the data; each modality counts as padded sequences, as that is not known."""

    def __init__(self, method: str, what: str, modalities: Iterable[str]) -> None:
        super().__init__(method, what)
        self.lengths = dict.fromkeys(modalities)
        self.present: dict[str, object] = {}


class NoIndex(NotHere):
    """Stands for the place of each of `count` samples in the data."""

    def __init__(self, method: str, count: int) -> None:
        super().__init__(method, "the place of every sample in the data")
        self._count = count

    def __len__(self) -> int:
        return self._count


def reason_against(method: Method, modalities: tuple[str, ...]) -> str | None:
    """Why a method cannot be used with a Balancer; None where nothing of its declaration says so."""
    if not method.trains:
        return "it trains nothing itself"
    if method.requires(modalities):
        return f"it starts from runs of {', '.join(dict.fromkeys(one.method for one in method.requires(modalities)))}"
    if type(method).variants(modalities) != [modalities]:
        return "it trains modalities apart from each other"
    for hook, what in OF_THE_LOOP.items():
        if _overrides(method, hook):
            return what
    if _overrides(method, "train_step") and getattr(method, "apply_to", "") != "grad":
        return "it makes the optimiser's steps itself"
    if _reads(type(method), "optimizer"):  # some do so in a late epoch alone, when refusing it would cost a training
        return "it needs the optimiser"
    return None


def check_built(method: Method, model: OwnNet, build: Callable[[OwnNet], object]) -> None:
    """Let the method build what it adds; UserError if it changes the network itself."""
    before = {name: id(module) for name, module in _own_modules(model)}
    build(model)
    if {name: id(module) for name, module in _own_modules(model)} != before:
        raise UserError(
            f"{method.name} cannot be used in your own loop: it replaces parts of the network. Train it with "
            "`mcr-bench run`."
        )


def _own_modules(model: OwnNet) -> list[tuple[str, object]]:
    return [(name, one) for name, one in model.named_modules() if not name.startswith(("extras", "own_heads"))]


def _reads(cls: type[Method], name: str) -> bool:
    """Whether code of the class, or of one that it derives from below `Method`, reads an attribute of this name."""
    classes = [one for one in cls.__mro__ if issubclass(one, Method) and one is not Method]
    values = [value for one in classes for value in vars(one).values()]
    functions = [getattr(value, "fget", None) or getattr(value, "func", None) or value for value in values]
    return any(name in names for one in functions for names in _names(getattr(inspect.unwrap(one), "__code__", None)))


def _names(code: CodeType | None) -> Iterator[tuple[str, ...]]:
    """The names that a function's code reads, and those of the functions inside it."""
    if code is not None:
        yield code.co_names
        for constant in code.co_consts:
            yield from _names(constant) if isinstance(constant, CodeType) else ()


def _overrides(method: Method, hook: str) -> bool:
    return getattr(type(method), hook) is not getattr(Method, hook)
