"""MM-IMDb: 25,959 films, each with its plot, its poster and some of 23 genres."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.settings.declaration import setting
from mcr_bench.datasets.base import Card, Modality
from mcr_bench.datasets.cache.opened import Cache
from mcr_bench.datasets.clips.dataset import ClipDataset, Recipe, Rule, Scan, Variant
from mcr_bench.datasets.clips.rows import View, standardised_view
from mcr_bench.datasets.features import mm_imdb_file as file
from mcr_bench.datasets.sequences.pickles import LIST, read_parts

SPLIT = "the parts of the file: 15,552 train, 2,608 validation, 7,799 test"
POSTER = (3, 256, 160)
CARD = Card(
    title="MM-IMDb (Arevalo et al., Gated Multimodal Units for Information Fusion, ICLR Workshop 2017)",
    homepage="https://github.com/johnarevalo/gmu-mmimdb",
    licence="as stated by the authors; plots and posters are those of IMDb; cite the paper",
    layout=file.LAYOUT,
    expected="25,959 films",
    download=f"{file.FILE}, linked from the homepage",
    size="not verified; of the prepared films 0.5 GB with features of posters, 6.5 GB with posters",
    protocols=f"standard  {SPLIT}",
)


@dataclass
class MmImdb(ClipDataset):
    """A mean word vector of the plot, features of VGG or the poster itself, and the genres as labels."""

    name = "mm-imdb"
    card = CARD
    group_name = "film"
    label_field = file.LABELS
    variants = (Variant(25959, "the whole set"),)

    image: Literal["vgg", "poster"] = setting(
        "vgg",
        "what the image is: vgg: the file's 4,096 features of a VGG network; poster: the colours of the poster",
        origin="MultiBench",
    )
    text_channels: int = setting(300, "features of the plot", origin="the official file", at_least=1)
    image_channels: int = setting(4096, "features of the poster with image=vgg", origin="the official file", at_least=1)

    @property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Key in the file -> the shape of a row."""
        image = (self.image_channels,) if self.image == "vgg" else POSTER
        return {file.TEXT: (self.text_channels,), file.KEYS[self.image]: image}

    def scan(self, source: Path, splits: Sequence[Path]) -> Scan:
        """The films of the file."""
        if splits:
            raise UserError(f"{self.name} has its own parts. Leave out --splits.")
        return file.scan(source, self._shapes)

    def recipe(self) -> Recipe:
        """Text, image and genres as the file has them."""
        return file.recipe(self.image, self._shapes)

    def modalities(self) -> dict[str, Modality]:
        """Text, and image: a vector, or (3, 256, 160)."""
        text, image = self._shapes.values()
        return {"text": Modality(text), "image": Modality(image)}

    def view(self, modality: str, cache: Cache, train: Array) -> View:
        """How batches are made: mean 0 and variance 1 per channel over the training part."""
        return standardised_view(cache, modality, train)

    def rules(self, cache: Cache) -> dict[str, Rule]:
        """`standard`, the parts of the file."""
        part = cache.parts_of(read_parts(cache.lists[LIST]))
        note = "macro_f1 and weighted_f1 are computed beside micro_f1"
        return {"standard": Rule(SPLIT, "validation", "micro_f1", lambda _: part, note=note)}

    @property
    def class_names(self) -> tuple[str, ...]:
        """The 23 genres, the most frequent first."""
        return file.GENRES
