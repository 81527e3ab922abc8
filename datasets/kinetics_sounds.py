"""Kinetics-Sounds: clips of ten seconds of the 31 classes of Kinetics-400 that are seen and heard."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mcr_bench.datasets.base import Card
from mcr_bench.datasets.cache.opened import Cache
from mcr_bench.datasets.clips.dataset import Rule, Scan, Variant
from mcr_bench.datasets.clips.web_clips import WebClips
from mcr_bench.datasets.raw.web import ks_lists, ks_raw

CARD = Card(
    title="Kinetics-Sounds (Arandjelovic, Zisserman: Look, Listen and Learn, ICCV 2017), 31 classes of Kinetics-400 "
    "(Kay et al., 2017)",
    homepage="https://github.com/cvdfoundation/kinetics-dataset",
    licence="none is stated for the clips, which are YouTube's; Kinetics-400's annotations are under CC BY 4.0 (from "
    "memory, not verified); cite both papers",
    layout=ks_raw.LAYOUT,
    expected="18,716 clips: 14,799 train, 1,320 validation, 2,597 test (63 to 92 test clips per class); a partial copy "
    "keeps its clips, and videos that YouTube has lost are reported per class",
    download="the clips of Kinetics-400, cut to 10 s; the lists from GitHub: GeWu-Lab/BML_TPAMI2024 "
    "(code/dataset/KS_train_val.json, the only form with a validation part), MengShen0709/bmmal or "
    "GeWu-Lab/OGM-GE_CVPR2022 (my_train.txt, my_test.txt), or hubaak/TCMax (train.csv, test.csv)",
    protocols="ks31         needs KS_train_val.json: its validation part selects\n"
    "ks31-carved  needs another form: the same training and test clips; a tenth of each class of train selects",
)
FORMS = "training and test clips are those of the other published lists, compared by YouTube id"


@dataclass
class KineticsSounds(WebClips):
    """Sound and frames of clips of 31 classes that are seen and heard."""

    name = "kinetics-sounds"
    card = CARD
    variants = (
        Variant(18_716, "all clips of the lists with a validation part"),
        Variant(17_396, "all clips of the lists without a validation part"),
        Variant(17_269, "the clips of TCMax's lists"),
    )

    def scan(self, source: Path, splits: Sequence[Path]) -> Scan:
        """The clips of the lists with available files; UserError for lists of another protocol, or that leak."""
        return ks_raw.scan(source, splits)

    def listed(self, source: Path, splits: Sequence[Path]) -> Scan:
        """Every clip of the lists in a folder."""
        return ks_raw.listed_clips(source, splits)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The 31 classes in alphabetical order."""
        return ks_lists.CLASSES

    def rules(self, cache: Cache) -> dict[str, Rule]:
        """`ks31` with a list that has a validation part, else `ks31-carved`."""
        rows = cache.parts_of(ks_raw.parts(cache.lists))
        if ks_lists.has_validation(cache.lists):
            return {
                "ks31": Rule(f"the parts of {ks_lists.WHOLE}", "validation", "accuracy", lambda _: rows, note=FORMS)
            }
        names = " and ".join(name for name in cache.lists if name in ks_lists.NAMES)
        selection = "validation: ours, a tenth of each class of train; not trained on"
        return {"ks31-carved": Rule(names, selection, "accuracy", lambda _: rows, note=FORMS)}

    def missing_clips(self, cache: Cache) -> dict[str, list[str]]:
        """List -> the videos of its clips that are not in the cache."""
        return cache.absent({name: sorted(of) for name, of in ks_lists.listed(cache.lists).parts.items()})
