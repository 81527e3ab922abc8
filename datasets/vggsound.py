"""VGGSound: clips of ten seconds of web videos in which what is heard is seen, of 309 classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mcr_bench.bench.settings.declaration import setting
from mcr_bench.datasets.base import Card
from mcr_bench.datasets.cache.opened import Cache
from mcr_bench.datasets.clips.dataset import Rule, Scan
from mcr_bench.datasets.clips.web_clips import WebClips
from mcr_bench.datasets.raw.web import vgg_raw

CARD = Card(
    title="VGGSound (Chen, Xie, Vedaldi, Zisserman: VGGSound, A Large-Scale Audio-Visual Dataset, ICASSP 2020)",
    homepage="https://www.robots.ox.ac.uk/~vgg/data/vggsound/",
    licence="the list is under CC BY 4.0; the videos are YouTube's; cite the paper",
    layout=vgg_raw.LAYOUT,
    expected="more than 200,000 clips of 309 classes in the list, 15,446 of them test; papers report about 168,600 "
    "training and 13,954 test clips that were still available; a partial copy keeps its clips",
    download="vggsound.csv of the homepage, which holds no media; the clips, cut to 10 s from the start in the list, "
    "come from YouTube or from a copy that you may use",
    protocols="official  the train and test clips of vggsound.csv; a tenth of each class of train selects",
)
LISTED = 200_000  # clips, as the paper counts them; `prepare` counts those that are available


@dataclass
class VggSound(WebClips):
    """Sound and frames of clips whose sound has a visible source."""

    name = "vggsound"
    card = CARD
    frames: int = setting(
        4,
        "number of frames, at 0, 1, 2, ... seconds; a short clip repeats its last frame",
        origin="TCMax code",
        at_least=1,
    )

    @property
    def prepared_size(self) -> tuple[int, int]:
        """The number of clips as the paper counts them, and the bytes of their rows."""
        return LISTED, LISTED * self.recipe().row_bytes

    def scan(self, source: Path, splits: Sequence[Path]) -> Scan:
        """The clips of vggsound.csv with available files; UserError if the list is missing or wrong."""
        return vgg_raw.scan(source, splits)

    def listed(self, source: Path, splits: Sequence[Path]) -> Scan:
        """Every clip of vggsound.csv in a folder."""
        return vgg_raw.listed_clips(source, splits)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes of the list in alphabetical order."""
        return vgg_raw.classes_of(self.cache.lists[vgg_raw.LIST])

    def rules(self, cache: Cache) -> dict[str, Rule]:
        """`official`, from the list that was prepared with the cache."""
        rows = cache.parts_of(vgg_raw.parts(cache.lists[vgg_raw.LIST]))
        split = f"train and test of {vgg_raw.LIST}"
        selection = "validation: ours, a tenth of each class of train; not trained on"
        return {"official": Rule(split, selection, "accuracy", lambda _: rows)}

    def missing_clips(self, cache: Cache) -> dict[str, list[str]]:
        """vggsound.csv -> the ids of its clips that are not in the cache."""
        return cache.absent({vgg_raw.LIST: sorted({row.id for row in vgg_raw.rows_of(cache.lists[vgg_raw.LIST])})})
