"""Predictions from subsets of the modalities; every input is read and encoded once, however many subsets there are."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mcr_bench.bench.core import seeds
from mcr_bench.bench.core.interrupts import check
from mcr_bench.bench.fit.returns import checked_outputs
from mcr_bench.bench.models.memory import EncoderMemory
from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel, Outputs
from mcr_bench.bench.problem.shapley import shapley_plan
from mcr_bench.methods.base import Method


def predicted(method: Method, model: MultimodalModel, inputs: Inputs) -> Outputs:
    """What the method predicts for inputs of B samples, checked."""
    return checked_outputs(method, "predict", method.predict(model, inputs), len(inputs), model.task.outputs)


class Subsets:
    """Predictions from the proper subsets of the modalities, collected chunk by chunk.

    An absent modality's input is its mean training input, encoded once per size of chunk.

    memory: what the encoders gave for the present chunk and for absent inputs.
    """

    def __init__(self, method: Method, model: MultimodalModel, absent: Inputs) -> None:
        """absent: the inputs that replace an absent modality, each (1, ...)."""
        self._method, self._model, self._absent = method, model, absent
        self.memory = EncoderMemory()
        names = model.modalities
        chosen, _ = shapley_plan(names, seeds.generator(method.fit.seed, "method", "subsets"))
        subsets = [tuple(m for m in names if m in s) for s in chosen if len(s) < len(names)]
        self._logits: dict[tuple[str, ...], list[Tensor]] = {subset: [] for subset in subsets}
        self._sized: dict[int, Inputs] = {}
        self._failure: Exception | None = None

    def add(self, inputs: Inputs) -> None:
        """Predict the next chunk from every subset. An error is kept for `logits`, and later chunks are left out."""
        try:
            if self._failure is None:
                self._add(inputs)
        except Exception as error:
            check()
            self._failure = error
        finally:
            self.memory.forget_all_but(self._sized.values())

    def logits(self) -> dict[tuple[str, ...], Tensor]:
        """Subset -> predictions (N, C) in the user's unit, of all chunks; raises the error of `add` if any."""
        if self._failure is not None:
            raise self._failure
        return {s: self._model.task.user(torch.cat(rows)) for s, rows in self._logits.items()}

    @torch.no_grad()
    def _add(self, inputs: Inputs) -> None:
        absent = self._absent_as(inputs)
        for subset, rows in self._logits.items():
            mixed = _mixed(inputs, absent, [m for m in self._model.modalities if m not in subset])
            with self._model.remembering(self.memory), self._method.fit.autocast():
                rows.append(predicted(self._method, self._model, mixed).logits.float())

    def _absent_as(self, inputs: Inputs) -> Inputs:
        """The absent inputs as a chunk of the size of `inputs`: the same tensors for every chunk of that size."""
        size = len(inputs)
        if size not in self._sized:
            values = {m: self._absent.values[m].to(inputs.values[m]) for m in self._model.modalities}
            lengths = {m: self._absent.lengths[m].to(n.device).expand(size) for m, n in inputs.lengths.items()}
            nowhere = torch.zeros(size, dtype=torch.bool, device=next(iter(values.values())).device)
            expanded = {m: x.expand_as(inputs.values[m]) for m, x in values.items()}
            self._sized[size] = Inputs(expanded, lengths, dict.fromkeys(values, nowhere))
        return self._sized[size]


def _mixed(inputs: Inputs, absent: Inputs, missing: list[str]) -> Inputs:
    """`inputs` with those of the modalities in `missing` replaced by the absent ones."""
    values = _replaced(inputs.values, absent.values, missing)
    present = inputs.present | {m: absent.present[m] for m in missing}
    return Inputs(values, _replaced(inputs.lengths, absent.lengths, missing), present)


def _replaced(present: Mapping[str, Tensor], absent: Mapping[str, Tensor], missing: list[str]) -> dict[str, Tensor]:
    return {m: absent[m] if m in missing else x for m, x in present.items()}
