"""A file of torch as a source: plain tensors, alone or in a dict with texts; nothing else in it is unpickled."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.inputs.sizes import check_size
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.folders.lists import Padded, array_of, stacked

REMEDY = 'torch.save({"x_voice": x, "y": y}, FILE) with tensors, or lists of numbers or texts'
NUMBER = 4  # bytes: numbers become float32 or more


class TorchFile:
    """An open source.

    keys: those of the dict in the file; none if it holds a single tensor.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        content = _loaded(path)
        if isinstance(content, Mapping) and not all(isinstance(key, str) for key in content):
            raise UserError(f"'{path}' is a dict with keys that are not text. Save it again: {REMEDY}.")
        if not isinstance(content, Mapping | torch.Tensor):
            raise UserError(
                f"'{path}' holds a {type(content).__name__}; allowed: a tensor, or a dict of them. Save it again: "
                f"{REMEDY}."
            )
        self._content = content
        self.keys = tuple(map(str, content)) if isinstance(content, Mapping) else ()

    def memory(self, key: str) -> int:
        """The bytes of memory that the array takes at least: a tensor in a small file may be a view of any size."""
        value = self._value(key)
        every = value if isinstance(value, list | tuple) else [value]
        return sum(one.numel() * max(one.element_size(), NUMBER) for one in every if isinstance(one, torch.Tensor))

    def read(self, key: str, text: bool) -> Array | Padded:
        """The array of a tensor or of a list; of half precision as float32, as NumPy has no bfloat16."""
        value, where = self._value(key), f"'{self._path}'" + (f": '{key}'" if key else "")
        if isinstance(value, list | tuple):
            if {type(one) for one in value if one is not None} != {torch.Tensor}:
                return array_of(where, list(value))
            return stacked(where, [None if one is None else array_of_tensor(where, one) for one in value])
        if not isinstance(value, torch.Tensor):
            raise UserError(
                f"{where} is a {type(value).__name__}; allowed: a tensor, or a list of tensors, numbers or texts. "
                "Save it again."
            )
        return array_of_tensor(where, value)

    def _value(self, key: str) -> object:
        return self._content[key] if isinstance(self._content, Mapping) else self._content


def array_of_tensor(where: str, value: torch.Tensor) -> Array:
    """The numbers of a tensor, of half precision as float32; UserError for one that does not hold them all.

    where: what the tensor is, for messages.
    """
    if value.is_nested:
        raise UserError(f"{where} is a nested tensor. Save the list of its tensors: list(x.unbind()).")
    if value.layout != torch.strided or value.is_quantized or value.is_meta:
        raise UserError(f"{where} is a sparse, quantized or meta tensor. Save x.to_dense() of real data.")
    plain = value.detach().cpu().resolve_conj().resolve_neg()
    if plain.dtype == torch.complex32:
        plain = plain.to(torch.complex64)
    return np.asarray((plain.float() if _is_small(plain.dtype) else plain).numpy())


def _is_small(dtype: torch.dtype) -> bool:
    """Whether a dtype is one of bfloat16 or 8 bits, which NumPy does not have."""
    return dtype.is_floating_point and dtype not in (torch.float16, torch.float32, torch.float64)


def _loaded(path: Path) -> object:
    """The content of a file; UserError if it is not a zip file of torch, is damaged, or holds objects of Python."""
    try:
        if not zipfile.is_zipfile(path):
            raise UserError(
                f"'{path}' is not a file of torch since version 1.6, or it is truncated. Save it again with torch.save."
            )
        with zipfile.ZipFile(path) as packed:
            check_size(path, sum(member.file_size for member in packed.infolist()), packed=True)
        return torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # of many types, with texts of many lines
        if "weights_only" in str(error) or "Weights only" in str(error):
            raise UserError(
                f"'{path}' holds Python objects that are not plain tensors, which are never unpickled. Save it again: "
                f"{REMEDY}."
            ) from error
        raise UserError(f"'{path}' cannot be read as a file of torch: it is damaged. Copy it again.") from error
