"""Starting from finished unimodal runs: which runs these are, and how a model takes over their weights."""

from typing import TYPE_CHECKING

from torch import Tensor, nn

from mcr_bench.methods.base import Requirement

if TYPE_CHECKING:
    from mcr_bench.bench.fit.fit import Fit


def unimodal_runs(modalities: tuple[str, ...]) -> list[Requirement]:
    """The unimodal run of every modality, in the given order.

    >>> [run.modalities for run in unimodal_runs(("audio", "video"))]
    [('audio',), ('video',)]
    """
    return [Requirement("unimodal", (m,)) for m in modalities]


def unimodal_weights(fit: "Fit") -> dict[str, dict[str, Tensor]]:
    """Modality -> the weights of its unimodal run, in the model's order of modalities, which `fit.dependencies` has.

    RuntimeError if a run is missing.
    """
    modalities = fit.model.modalities
    if len(fit.dependencies) != len(modalities):
        raise RuntimeError(f"{len(modalities)} unimodal runs are needed, {len(fit.dependencies)} were given")
    return dict(zip(modalities, fit.dependencies, strict=True))


def start_from_unimodal(fit: "Fit") -> None:
    """Give every modality's encoder and own head the weights of its unimodal run.

    RuntimeError if a run is missing, or if its tensors do not have the names and shapes of the model's.
    """
    for m, weights in unimodal_weights(fit).items():
        take_over(fit.model.encoders[m], fit.model.own_heads[m], weights, m)


def take_over(encoder: nn.Module, own_head: nn.Module, weights: dict[str, Tensor], modality: str) -> None:
    """Give an encoder and an own head the weights of the unimodal run of this modality."""
    _load(encoder, weights, f"encoders.{modality}.")
    _load(own_head, weights, f"own_heads.{modality}.")


def _load(module: nn.Module, weights: dict[str, Tensor], prefix: str) -> None:
    """Give `module` the tensors whose names begin with `prefix`. RuntimeError if one is missing or superfluous."""
    module.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
