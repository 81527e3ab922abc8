"""Try a user's code before anything is trained: errors are reported in words, and the trial leaves no trace."""

import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from traceback import walk_tb
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mcr_bench.bench.core.process_state import process_state_kept
from mcr_bench.bench.core.user_files import late_import
from mcr_bench.bench.errors import UserError, in_words
from mcr_bench.bench.problem.facts import Modality

T = TypeVar("T")
RECURRENT = {"lstm", "gru", "rnn_tanh", "rnn_relu"}


@contextmanager
def trial() -> Iterator[None]:
    """Inside, anything may be tried: afterwards random states and torch's switches are as they were."""
    with process_state_kept(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def anywhere(attempt: Callable[[], T]) -> T:
    """The result of `attempt` without memory (torch's device `meta`), or on the CPU if that fails.

    A `UserError` of the first attempt is raised; other errors may be due to `meta`, so those on the CPU are raised.
    """
    try:
        with _Quick(), torch.device("meta"):
            return attempt()
    except Exception as error:
        if isinstance(error, UserError) and error.__cause__ is None:
            raise
    with torch.device("cpu"):
        return attempt()


class _Quick(TorchFunctionMode):
    """Recurrent layers are refused: on `meta` they go step by step, fifty times as slowly as on the CPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        if getattr(func, "__name__", "") in RECURRENT:
            raise NotImplementedError("a recurrent layer is tried on the CPU")
        return func(*args, **(kwargs or {}))


@contextmanager
def told(cls: type, what: str) -> Iterator[None]:
    """Inside the block an error becomes a UserError with what failed, and the line of the class's file."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # a constructor that ends the process must not end this command in silence
        raise UserError(f"{what}: {in_words(error)}{_line(cls, error)}{late_import(error)}") from error


def numbers(shape: tuple[int, ...], place: int = 0) -> Tensor:
    """A tensor of this shape whose entries differ, the same at every call; another one for another `place`."""
    count = torch.Size(shape).numel()
    return torch.sin(torch.arange(count, dtype=torch.float32, device="cpu") * 0.7 + 1.3 * place + 0.1).reshape(shape)


def blank(count: int, modality: Modality) -> Tensor:
    """So many samples (count, ...) of zeros, or, of ids of words, without a word."""
    return torch.zeros(count, *modality.shape, dtype=torch.int64 if modality.vocabulary else None)


def what_is(value: object) -> str:
    """What a method has given, in words."""
    if value is None:
        return "None (is a `return` missing?)"
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    name = type(value).__name__
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def require_tensor(value: object, shape: tuple[int, ...], method: str, meaning: str) -> Tensor:
    """`value` where it is a tensor of this shape and of single precision; UserError otherwise."""
    if not isinstance(value, Tensor) or tuple(value.shape) != shape:
        raise UserError(f"{method} gave {what_is(value)}; needed: a tensor {shape}, {meaning}")
    if value.dtype != torch.get_default_dtype():
        kind = str(torch.get_default_dtype()).removeprefix("torch.")
        raise UserError(f"{method} gave {what_is(value)}; needed: {kind}, as its input has")
    return value


def _line(cls: type, error: BaseException) -> str:
    """The last line of the class's own file that an error has passed through."""
    file = inspect.getsourcefile(cls)
    lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == file]
    return f" (line {lines[-1]} of {file})" if lines else ""
