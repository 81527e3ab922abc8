"""CREMA-D for Conformers: waveforms, and features of faces from an image network with weights that the user gives."""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.inputs.texts import json_of
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.backbones.weights import file_digest
from mcr_bench.datasets.cache.libraries import MEDIA
from mcr_bench.datasets.cache.recipe import Clip, Field, Settings
from mcr_bench.datasets.raw.cremad_raw import SOUND

if TYPE_CHECKING:
    from torch import Tensor, nn

RATE = 16000
LIBRARIES = (*MEDIA, "torch", "transformers")
VERSION = 1
FEATURES = 1408  # of EfficientNet-B2
BLOCK = 16  # frames that go through the network at a time
HEIGHT, TOP = 0.6, 0.05  # of the square with the face, in heights of the frame: actors sit still before a fixed camera
AGAIN = "Copy the weights again."
IMAGES = "preprocessor_config.json"
NEEDED = "config.json", "model.safetensors", IMAGES


def settings_of(weights: str, frames: int, size: int, seconds: float) -> Settings:
    """Everything that decides the bytes of a cache; of the weights it is their content, not their folder.

    weights: the folder of the weights; '' if none is given.
    """
    sums = [file_digest(Path(weights) / name) for name in NEEDED] if _is_whole(weights) else []
    dials = {"frames": frames, "frame_size": size, "seconds": seconds}
    return {"version": VERSION, **dials, "weights": sums, "sound": SOUND}


def fields(settings: Settings, weights: str) -> dict[str, Field]:
    """Padded waveforms (T, 1) of 16 kHz in [-1, 1], and padded features (frames, 1408 for EfficientNet-B2)."""
    return {
        "audio": Field((round(settings["seconds"] * RATE), 1), "float16", padded=True),
        "video": Field((settings["frames"], _features_of(weights)), "float16", padded=True),
    }


def _features_of(weights: str) -> int:
    """The number of features of a face: what the network states, else that of EfficientNet-B2."""
    stated = _config(weights).get("hidden_dim") if _is_whole(weights) else None
    return int(stated) if isinstance(stated, int | float) else FEATURES


def decoder(weights: str) -> Callable[[Clip, Settings], Mapping[str, Array]]:
    """The function `decode` of a recipe with the weights in this folder."""
    return partial(_decode, weights)


def require_weights(weights: str) -> None:
    """UserError unless the folder holds an EfficientNet of Hugging Face transformers that can be loaded."""
    if not _is_whole(weights):
        raise UserError(
            f"dataset.weights='{weights}': backbone conformer needs a folder with {', '.join(NEEDED)} of an "
            "EfficientNet-B2 (Hugging Face transformers), e.g. a copy of google/efficientnet-b2. Nothing is downloaded."
        )
    kind = _config(weights).get("model_type")
    if kind != "efficientnet":
        raise UserError(f"dataset.weights='{weights}': config.json is of '{kind}'. Allowed: efficientnet.")
    _network(weights)


def face(frames: Array) -> Array:
    """(F, H, W, 3) uint8 -> (F, S, S, 3) uint8: the square in the upper middle, where the faces of CREMA-D are.

    >>> face(np.zeros((2, 360, 480, 3), np.uint8)).shape
    (2, 216, 216, 3)
    """
    height, width = frames.shape[1:3]
    side = min(round(HEIGHT * height), width)
    top, left = round(TOP * height), (width - side) // 2
    return frames[:, top : top + side, left : left + side]


def _decode(weights: str, clip: Clip, settings: Settings) -> Mapping[str, Array]:
    """Sound and features from the start of the clip to its end, but at most `seconds` and `frames`."""
    from mcr_bench.datasets.media.decode import fit, frame_count, read_audio, read_every
    from mcr_bench.datasets.media.findings import require_sound
    from mcr_bench.datasets.media.reasons import Unusable

    if "video" not in clip.files:
        raise Unusable(f"{clip.id}: backbone conformer needs every frame: put the .flv file into VideoFlash.")
    path = clip.files["audio"]
    wave = require_sound(read_audio(path, RATE, seconds=settings["seconds"]), path.name)
    count = min(frame_count(clip.files["video"]), settings["frames"])
    faces = fit(face(read_every(clip.files["video"], 1, count)), settings["frame_size"])
    return {"audio": wave[:, None].astype(np.float16), "video": _features(faces, weights).astype(np.float16)}


def _features(faces: Array, weights: str) -> Array:
    """(F, 3, S, S) uint8 -> (F, K) float32, the pooled output of the network."""
    import torch

    network, mean, std = _network(weights)
    rows = []
    with torch.inference_mode():
        for start in range(0, len(faces), BLOCK):
            images = torch.from_numpy(faces[start : start + BLOCK]).float() / 255
            rows.append(network((images - mean) / std).pooler_output.flatten(1).numpy())
    return np.concatenate(rows)


@lru_cache(maxsize=1)
def _network(weights: str) -> "tuple[nn.Module, Tensor, Tensor]":
    """The network in evaluation mode, and mean and deviation (3, 1, 1) float32 of the images that it was trained on.

    UserError if weights cannot be read, or if some are missing, because the library would initialise them at random.
    """
    import torch
    from safetensors import SafetensorError

    from mcr_bench.bench.models.backbones.whole import library

    options = {"local_files_only": True, "output_loading_info": True}
    try:
        network, report = library().EfficientNetModel.from_pretrained(weights, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"dataset.weights='{weights}': cannot be read ({error}). {AGAIN}") from error
    if report["missing_keys"]:
        raise UserError(f"dataset.weights='{weights}': {len(report['missing_keys'])} weights are missing. {AGAIN}")
    place = Path(weights) / IMAGES
    config = _json(place)
    try:
        mean, std = (torch.tensor(config[key]).float().reshape(3, 1, 1) for key in ("image_mean", "image_std"))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"'{place}' has no image_mean and image_std of three colours. {AGAIN}") from error
    return network.eval(), mean, std


def _is_whole(weights: str) -> bool:
    return bool(weights) and all((Path(weights) / name).is_file() for name in NEEDED)


def _config(weights: str) -> Mapping[str, object]:
    return _json(Path(weights) / "config.json")


def _json(path: Path) -> Mapping[str, object]:
    """The object in a JSON file; empty if the file is missing or holds another value."""
    try:
        content = json_of(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise UserError(f"'{path}' is not JSON ({error}). {AGAIN}") from error
    return content if isinstance(content, dict) else {}
