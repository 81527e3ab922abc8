"""Frozen features of texts from a language model of Hugging Face transformers with weights that the user gives."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.inputs.texts import json_of
from mcr_bench.bench.errors import UserError, quoted
from mcr_bench.bench.models.backbones.weights import file_digest

NEEDED = "config.json", "model.safetensors", "tokenizer.json"
OPTIONAL = "tokenizer_config.json", "special_tokens_map.json"
LIBRARIES = "torch", "transformers"
AGAIN = "Copy the weights again."
BASE = 768  # features of models of the size "base"


def sums_of(weights: str) -> list[str]:
    """What decides the features: the contents of the files in the folder of the weights; empty if some are missing."""
    if not _is_whole(weights):
        return []
    files = [Path(weights) / name for name in (*NEEDED, *OPTIONAL)]
    return [file_digest(path) for path in files if path.is_file()]


def channels_of(weights: str) -> int:
    """The number of features per token that the model states."""
    stated = _config(weights).get("hidden_size") if _is_whole(weights) else None
    return int(stated) if isinstance(stated, int | float) else BASE


def require_weights(weights: str) -> None:
    """UserError unless the folder holds a model and a tokenizer that can be loaded."""
    if not _is_whole(weights):
        raise UserError(
            f"dataset.weights='{weights}': text=model needs a folder with {', '.join(NEEDED)} of a language model "
            "(Hugging Face transformers), e.g. a copy of google-bert/bert-base-uncased. Nothing is downloaded."
        )
    _model(weights)


def features(text: str, weights: str, steps: int) -> Array:
    """The last hidden states (T, C) float16 of the first tokens of a text, at most `steps`."""
    import torch

    tokenizer, model = _model(weights)
    tokens = tokenizer(text, truncation=True, max_length=steps, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**tokens).last_hidden_state[0]
    given: Array = hidden.float().numpy().astype(np.float16)
    return given


@lru_cache(maxsize=1)
def _model(weights: str) -> tuple[Any, Any]:
    """The tokenizer, and the model in evaluation mode.

    UserError if they cannot be read, or if weights are missing, because the library would initialise them at random.
    """
    import torch
    from safetensors import SafetensorError

    from mcr_bench.bench.models.backbones.whole import library

    torch.set_num_threads(1)  # one worker per core decodes
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = library().AutoTokenizer.from_pretrained(weights, **options)
        model, told = library().AutoModel.from_pretrained(weights, output_loading_info=True, **options)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise UserError(f"dataset.weights='{weights}': cannot be read ({quoted(error)}). {AGAIN}") from error
    if lost := [name for name in told["missing_keys"] if "pooler" not in name]:
        raise UserError(f"dataset.weights='{weights}': {len(lost)} weights are missing, {lost[0]} first. {AGAIN}")
    return tokenizer, model.eval()


def _is_whole(weights: str) -> bool:
    return bool(weights) and all((Path(weights) / name).is_file() for name in NEEDED)


def _config(weights: str) -> Mapping[str, object]:
    path = Path(weights) / "config.json"
    try:
        content = json_of(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"'{path}' is not JSON ({quoted(error)}). {AGAIN}") from error
    return content if isinstance(content, dict) else {}
