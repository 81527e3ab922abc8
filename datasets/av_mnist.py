"""AV-MNIST: 70,000 images of written digits, each with the spectrogram of a spoken digit of the same class."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.base import Card, Modality
from mcr_bench.datasets.cache.opened import Cache
from mcr_bench.datasets.clips.dataset import ClipDataset, Recipe, Rule, Scan, Variant
from mcr_bench.datasets.clips.rows import View, standardised_view
from mcr_bench.datasets.features import av_mnist_files as files
from mcr_bench.datasets.sequences.pickles import LIST, read_parts

SPLIT = "the official training part without its last twelfth (55,000), that twelfth (5,000), the test part (10,000)"
CARD = Card(
    title="AV-MNIST: images of MNIST paired with spectrograms of spoken digits (Vielzeuf et al., CentralNet, ECCV "
    "Workshops 2018), as MultiBench reads it",
    homepage="https://github.com/pliang279/MultiBench",
    licence="not stated with the files; MNIST: CC BY-SA 3.0 (as https://keras.io/api/datasets/mnist states it)",
    layout=files.LAYOUT,
    expected="60,000 training and 10,000 test samples. The files do not name speakers and recordings, so that the "
    "audit cannot see whether two parts share one",
    download="the folder avmnist, linked from https://github.com/pliang279/MultiBench",
    size="not verified; of the prepared samples some 1.9 GB",
    protocols=f"multibench  {SPLIT}",
)


@dataclass
class AvMnist(ClipDataset):
    """Images (1, 28, 28) and spectrograms (1, 112, 112) of digits."""

    name = "av-mnist"
    card = CARD
    group_name = "sample"
    variants = (Variant(70000, "all samples"),)

    def scan(self, source: Path, splits: Sequence[Path]) -> Scan:
        """Every sample of both parts."""
        if splits:
            raise UserError(f"{self.name} has its own parts. Leave out --splits.")
        return files.scan(source)

    def recipe(self) -> Recipe:
        """The values of the files."""
        return files.recipe()

    def modalities(self) -> dict[str, Modality]:
        """Image and audio, both with one channel."""
        return {m: Modality(shape) for m, shape in files.SHAPES.items()}

    def view(self, modality: str, cache: Cache, train: Array) -> View:
        """How batches are made: mean 0 and variance 1 over the training part."""
        return standardised_view(cache, modality, train)

    def rules(self, cache: Cache) -> dict[str, Rule]:
        """`multibench`, the parts that MultiBench makes of the official ones."""
        part = cache.parts_of(read_parts(cache.lists[LIST]))
        return {"multibench": Rule(SPLIT, "validation", "accuracy", lambda _: part)}

    @property
    def class_names(self) -> tuple[str, ...]:
        """The ten digits."""
        return files.CLASSES
