"""Starting from finished one-modality runs: what they are, and how their weights come into a model."""

from typing import TYPE_CHECKING

from torch import Tensor, nn

from mcr_bench.methods.base import Requirement

if TYPE_CHECKING:
    from mcr_bench.bench.fit.fit import Fit


def unimodal_runs(modalities: tuple[str, ...]) -> list[Requirement]:
    """The one-modality run of every modality, in the given order."""
    return [Requirement("unimodal", (m,)) for m in modalities]


def start_from_unimodal(fit: "Fit") -> None:
    """Load every modality's encoder and own head from `fit.dependencies`, given in the model's order of modalities.

    Raises RuntimeError where a run is missing or its tensors do not fit the model.
    """
    modalities = fit.model.modalities
    if len(fit.dependencies) != len(modalities):
        raise RuntimeError(f"{len(modalities)} unimodal runs are needed, {len(fit.dependencies)} were given")
    for m, weights in zip(modalities, fit.dependencies, strict=True):
        _load(fit.model.encoders[m], weights, f"encoders.{m}.")
        _load(fit.model.own_heads[m], weights, f"own_heads.{m}.")


def _load(module: nn.Module, weights: dict[str, Tensor], prefix: str) -> None:
    """The tensors under `prefix` into `module`, all of them and no other."""
    module.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
