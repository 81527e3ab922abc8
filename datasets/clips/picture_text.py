"""Pictures with texts: what sets of a picture and a text, as words or as features, share as datasets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.settings.declaration import Value, setting
from mcr_bench.datasets.base import Modality, Preparation
from mcr_bench.datasets.cache.opened import Cache
from mcr_bench.datasets.clips.crops import Boxes
from mcr_bench.datasets.clips.dataset import ClipDataset, Recipe
from mcr_bench.datasets.clips.rows import View, standardised_view
from mcr_bench.datasets.clips.views import Frames
from mcr_bench.datasets.raw.texts import language_model, pairs
from mcr_bench.datasets.raw.texts.words import code_of, read_vocabulary, vocabulary_list

UNKNOWN = 1  # the id of every word that is not in the vocabulary
FIRST = 2  # the id of the most frequent word


@dataclass(frozen=True)
class Picture(Frames):
    """Pictures (B, 3, S, S) uint8 as `Frames` makes a single frame: (B, 3, size, size) float32."""

    def _finish(self, raw: Tensor, boxes: Boxes) -> Tensor:
        return super()._finish(raw[:, None], boxes)[:, 0]

    def shape(self, raw: tuple[int, ...]) -> tuple[int, ...]:
        return (3, self.size, self.size)


@dataclass(frozen=True, eq=False)
class Words(View):
    """Codes of words (B, T, 1) int64 -> their ids in a vocabulary (B, T, 1) int64: 0 for no word, 1 for others.

    field: the field of the cache.
    codes: (V,) int64, codes in rising order, 0 among them.
    numbers: (V,) int64, the id of each code.
    """

    field: str
    codes: Tensor
    numbers: Tensor
    padded: bool = True
    ids: bool = True

    def evaluate(self, raw: Tensor, facts: dict[str, Tensor]) -> Tensor:
        at = torch.searchsorted(self.codes, raw).clamp(max=len(self.codes) - 1)
        return torch.where(self.codes[at] == raw, self.numbers[at], UNKNOWN)

    def to(self, device: torch.device) -> "Words":
        return replace(self, codes=self.codes.to(device), numbers=self.numbers.to(device))


def words_view(field: str, words: Sequence[str]) -> Words:
    """The view whose vocabulary is `words`, with ids from 2 on, in this order."""
    number_of = {0: 0} | {code_of(word): FIRST + place for place, word in enumerate(words)}
    codes = sorted(number_of)
    return Words(field, torch.tensor(codes), torch.tensor([number_of[code] for code in codes]))


@dataclass
class PictureText(ClipDataset):
    """Pictures with the fields of `pairs.recipe`; the cache keeps the words of a protocol (`vocabulary_list`)."""

    text: Literal["words", "model", "files"] = setting(
        "words",
        "what is stored of the text; words: its words, which become ids in the vocabulary of the training part (words "
        "that it has once are unknown); model: frozen features of a language model; files: features that you give",
    )
    steps: int = setting(64, "highest number of words, tokens or steps of a text; later ones are cut off", at_least=1)
    weights: str = setting("", "model: folder of the language model that computes the features of texts")
    text_channels: int = setting(language_model.BASE, "files: features per step of the text", at_least=1)
    picture_size: int = setting(
        256, "side in pixels of the stored pictures, which are squares of the whole picture", at_least=8
    )
    crop: int = setting(224, "side in pixels of the pictures that the model sees", origin="QMF code", at_least=8)

    @property
    def variant(self) -> str:
        """Which text of a picture it is; '' if a picture has one. Where it has several, a setting takes its place."""
        return ""

    def recipe(self) -> Recipe:
        """Pictures as uint8 squares, and codes of words or features of the text."""
        return pairs.recipe(self.text, self.steps, self.picture_size, self.text_channels, self.weights, self.variant)

    def acting(self, dials: Mapping[str, Value]) -> dict[str, Value]:
        """As for all datasets; `weights` only for features of a model, by their content, `text_channels` for files."""
        acting = super().acting(dials)
        idle = {"model": {"text_channels"}, "files": {"weights"}}.get(self.text, {"weights", "text_channels"})
        if self.text == "model":
            acting |= {"weights": " ".join(self.recipe().settings["weights"])}
        return {key: value for key, value in acting.items() if key not in idle}

    def prepare(self, request: Preparation) -> str:
        """Prepare the cache of the present recipe; UserError if features are asked for and the model is missing."""
        if self.text == "model":
            language_model.require_weights(self.weights)
        return super().prepare(request)

    def modalities(self) -> dict[str, Modality]:
        """Image (3, crop, crop), and padded text: ids (steps, 1), or features (steps, channels)."""
        field = self.recipe().fields["text"]
        words = FIRST + max((len(of) for of in self._vocabularies(self.cache).values()), default=0)
        text = Modality(field.shape, padded=True, vocabulary=words if self.text == "words" else 0)
        return {"image": Modality((3, self.crop, self.crop)), "text": text}

    def view(self, modality: str, cache: Cache, train: Array) -> View:
        """How batches are made: pictures cropped, flipped and normalised; words as ids; features standardised."""
        if modality == "image":
            return Picture("image", self.crop)
        if self.text != "words":
            return standardised_view(cache, "text", train, padded=True)
        return words_view("text", self._vocabularies(cache).get(self._protocol_of(train), []))

    def further(self, cache: Cache) -> dict[str, Sequence[str]]:
        """Codes of the picture and of the text of each pair: scraped pairs often share one of them."""
        if not cache.index.contents:
            return {}
        return {name: [f"{code:x}" for code in cache.scalars(field).tolist()] for name, field in pairs.SAME.items()}

    def _vocabularies(self, cache: Cache) -> dict[str, list[str]]:
        """Protocol -> the words of its training part."""
        names = {name: vocabulary_list(name) for name in self._rules}
        return {name: read_vocabulary(cache.lists[of]) for name, of in names.items() if of in cache.lists}

    def _protocol_of(self, train: Array) -> str:
        """The protocol whose training part these clips (n,) are; '' if none is."""
        parts = {name: np.flatnonzero(rule.part(rule.folds[0]) == "train") for name, rule in self._rules.items()}
        return next((name for name, at in parts.items() if np.array_equal(at, train)), "")
