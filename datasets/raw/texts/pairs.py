"""A picture and its text as a row of a cache: squares of pixels, codes of words or features, and a code of each."""

import hashlib
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.datasets.cache.libraries import MEDIA
from mcr_bench.datasets.cache.recipe import Clip, Field, Recipe, Settings
from mcr_bench.datasets.media.reasons import report
from mcr_bench.datasets.raw.texts import language_model as model
from mcr_bench.datasets.raw.texts.sources import FEATURES, PICTURE, features_of, text_of
from mcr_bench.datasets.raw.texts.words import code_of, codes_of, words_of

VERSION = 1
SAME = {"image": "image_code", "text": "text_code"}  # what may be the same in two pairs -> the field with its code


def recipe(text: str, steps: int, size: int, channels: int, weights: str, variant: str = "") -> Recipe:
    """How pairs are stored. text: words, model or files. variant: which text of a picture it is, where there are some.

    channels: features per step of given files. weights: the folder of the language model.
    """
    settings = {"version": VERSION, "text": text, "steps": steps, "picture_size": size}
    if variant:
        settings |= {"variant": variant}
    if text == "model":
        settings |= {"weights": model.sums_of(weights)}
        channels = model.channels_of(weights)
    fields = {
        "image": Field((3, size, size), "uint8"),
        "aspect": Field((), "float32"),
        "text": Field((steps, 1), "int64", True) if text == "words" else Field((steps, channels), "float16", True),
        **{code: Field((), "int64") for code in SAME.values()},
    }
    libraries = (*MEDIA, *model.LIBRARIES) if text == "model" else MEDIA
    return Recipe(f"{variant or 'text'}-{text}", settings, fields, _decoder(weights, channels), libraries)


def _decoder(weights: str, channels: int) -> Callable[[Clip, Settings], Mapping[str, Array]]:
    return partial(_decode, weights, channels)


def _decode(weights: str, channels: int, clip: Clip, settings: Settings) -> Mapping[str, Array]:
    """One row of each array; `Unusable` for a picture, a text or a file of features that cannot be read."""
    from mcr_bench.datasets.media.decode import aspect, fit
    from mcr_bench.datasets.media.findings import report_pictures
    from mcr_bench.datasets.media.pictures import read_picture

    picture = read_picture(clip.files[PICTURE])[None]
    report_pictures([*picture])
    image = fit(picture, settings["picture_size"])[0]
    text, code = _text(weights, channels, clip, settings)
    return {
        "image": image,
        "aspect": np.array(aspect(picture), np.float32),
        "text": text,
        "image_code": np.array(_code(image.tobytes())),
        "text_code": np.array(code),
    }


def _text(weights: str, channels: int, clip: Clip, settings: Settings) -> tuple[Array, int]:
    """The text (T, C), and a code of all of its words (of a text without words: of itself), or of given features."""
    if settings["text"] == "files":
        x = features_of(clip.files[FEATURES], settings["steps"], channels)
        return x, _code(x.tobytes())
    text = text_of(clip)
    words = words_of(text)
    if not words:
        report("its text has no word")
    made = codes_of(words, settings["steps"]) if settings["text"] == "words" else None
    return model.features(text, weights, settings["steps"]) if made is None else made, code_of(" ".join(words) or text)


def _code(content: bytes) -> int:
    """The first 63 bits of a SHA-256."""
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") >> 1
