"""A model of the transformers library as one part of ours: drawn or loaded as a whole, frozen or not."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.backbones.weights import place_of

State = dict[str, Tensor]


class Whole(nn.Module):
    """A library model, `model`, as `make()` gives it, with the weights of `load()`, or else with random weights.

    frozen: no parameter learns, and the model stays in evaluation mode.
    """

    def __init__(
        self, make: Callable[[], nn.Module], load: Callable[[], State] | None = None, frozen: bool = False
    ) -> None:
        super().__init__()
        self.model, self.frozen, self._make, self._load = make(), frozen, make, load
        if frozen:
            self.model.requires_grad_(False)

    def draw_all(self) -> None:
        """Load or draw weights and buffers; `seeds.initialise` calls it under this module's own stream.

        The library draws while it builds, in part where no later call reaches (weight norms), hence a second model.
        """
        self.model.load_state_dict(self._load() if self._load else _with_biases(self._make()).state_dict())

    def train(self, mode: bool = True) -> "Whole":
        """As `nn.Module.train`; a frozen model does not leave evaluation."""
        super().train(mode and not self.frozen)
        return self

    def forward(self, *inputs: Tensor, **options: Any) -> Any:
        return self.model(*inputs, **options)


def _with_biases(model: nn.Module) -> nn.Module:
    """A fresh model with biases as PyTorch draws them, which the library sets to 0.

    With those, blank frames and silence stay 0 through all blocks, and each layer norm multiplies their gradient by
    1 / sqrt(eps): twelve blocks of Swin pass the range of float32.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d) and module.bias is not None:
            bound = 1 / math.sqrt(module.weight[0].numel())
            nn.init.uniform_(module.bias, -bound, bound)
    return model


def library() -> Any:
    """The module `transformers`, made quiet; UserError where it is not installed."""
    try:
        transformers: Any = import_module("transformers")
    except ImportError as error:
        raise UserError(
            "pre-trained encoders need Hugging Face transformers: pip install 'mcr-bench[backbones]'"
        ) from error
    transformers.utils.logging.set_verbosity_error()  # what it warns of is either meant here, or raised as an error
    transformers.utils.logging.disable_progress_bar()
    return transformers


def configuration(kind: str, weights: str, fresh: Mapping[str, Any], changed: Mapping[str, Any]) -> Any:
    """The configuration of a library model: that of `weights`, or `fresh` without them; `changed` wins over both.

    kind: the library's name of the kind of model. UserError where the weights cannot be found or are of another kind.
    """
    auto = library().AutoConfig
    if not weights:
        return auto.for_model(kind, **{**fresh, **changed})
    place, revision = place_of(weights)
    try:
        loaded = auto.from_pretrained(place, revision=revision, trust_remote_code=False, **changed)
    except (OSError, ValueError) as error:
        raise _unreadable(place, error) from error
    if loaded.model_type != kind:
        raise UserError(f"encoder.weights={place} are of the kind {loaded.model_type}; this encoder needs {kind}.")
    return loaded


def commit_of(name: str, revision: str) -> str | None:
    """The commit of a name on the hub, as the library tells it; UserError where it cannot be found."""
    try:
        loaded = library().AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _unreadable(f"{name}@{revision}", error) from error
    commit: str | None = getattr(loaded, "_commit_hash", None)
    return commit


def first_layers(config: Any, layers: int) -> Any:
    """The configuration of a model cut to its first layers; 0 = all. UserError for more than it has."""
    if layers > config.num_hidden_layers:
        raise UserError(
            f"encoder.layers={layers}: the weights have {config.num_hidden_layers} layers. Use fewer, or 0 for all."
        )
    config.num_hidden_layers = layers or config.num_hidden_layers
    return config


def loaded(model: Any, config: Any, weights: str, **options: Any) -> State:
    """The weights of a library model; UserError if they cannot be read or some of the model's are missing."""
    place, revision = place_of(weights)
    damaged = import_module("safetensors").SafetensorError
    try:
        made, report = model.from_pretrained(
            place, revision=revision, config=config, output_loading_info=True, **options
        )
    except (OSError, ValueError, RuntimeError, damaged) as error:
        raise _unreadable(place, error) from error
    if report["missing_keys"]:
        some = ", ".join(sorted(report["missing_keys"])[:3])
        raise UserError(
            f"encoder.weights={place} lack {len(report['missing_keys'])} parameters of the encoder: {some}."
        )
    state: State = made.state_dict()
    return state


def whole(model: Any, config: Any, weights: str, frozen: bool, **options: Any) -> Whole:
    """A library model of this configuration, with its weights from `weights` or drawn."""
    load = partial(loaded, model, config, weights, **options) if weights else None
    return Whole(partial(model, config, **options), load, frozen)


def attention_heads(width: int) -> int:
    """Heads of size 64, as all these models have, or the next larger size that divides `width`."""
    return next(heads for heads in range(max(1, width // 64), 0, -1) if width % heads == 0)


def _unreadable(place: str, error: Exception) -> UserError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return UserError(
        f"encoder.weights={place}: no weights of transformers can be read there ({reason}). Give a folder that holds "
        "config.json and model.safetensors, or a name on the hub, for which the network is needed."
    )
