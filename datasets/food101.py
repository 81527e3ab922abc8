"""UPMC Food-101: 90,688 pictures of 101 dishes from the web, each with a text of the page that shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mcr_bench.bench.settings.declaration import setting
from mcr_bench.datasets.base import Card
from mcr_bench.datasets.cache.opened import Cache
from mcr_bench.datasets.clips.dataset import Rule, Scan, Variant
from mcr_bench.datasets.clips.picture_text import PictureText
from mcr_bench.datasets.raw.texts import food as raw
from mcr_bench.datasets.raw.texts.sources import ids_by_list

CARD = Card(
    title="UPMC Food-101 (Wang et al.: Recipe Recognition with Large Multimodal Food Dataset, ICME Workshops 2015)",
    homepage="https://visiir.isir.upmc.fr (does not answer any more)",
    licence="none is stated with the files; pictures and texts are those of web pages; cite the paper",
    layout=raw.LAYOUT,
    expected="90,688 pictures with a title, 67,972 train and 22,716 test, as issue 2 of songrise/MoPE counts them (not "
    "verified here; the test list of QMF has 22,715). Three texts are in use: the title of the page, its text, and the "
    "recipe. They are different data: each has protocols and a cache of its own. The layout of recipes is ours, as "
    "none was read. Classes in lists, folders and titles must agree",
    download="a copy of images/ and texts/ such as https://www.kaggle.com/datasets/gianmarco96/upmcfood101 (linked "
    "from https://github.com/QingyangZhang/QMF, which has lists in MMBT's form of titles); MMBT's script "
    "scripts/food_101.py makes such lists of pages, and draws another dev part each time",
    size="not verified; of the prepared pairs 18 GB",
    protocols="official-VARIANT  the folders train and test; a tenth of each training class validates\n"
    "mmbt-VARIANT      train.jsonl, dev.jsonl, test.jsonl: the parts alone; texts are those of VARIANT",
)


@dataclass
class Food101(PictureText):
    """A picture and one of its texts."""

    name = "food101"
    card = CARD
    group_name = "picture"
    variants = (Variant(90688, "every picture with a title"),)

    variant: Literal["title", "page", "recipe"] = setting(
        "title", "which text of a picture; it is part of the names of the protocols, and never mixed"
    )

    def scan(self, source: Path, splits: Sequence[Path]) -> Scan:
        """The pictures that have the text; UserError if the folder or a list is not UPMC Food-101's."""
        return raw.scan(source, splits, self.variant, self.text)

    def listed(self, source: Path, splits: Sequence[Path]) -> Scan:
        """Every picture of the lists in a folder."""
        return raw.listed_pictures(source, splits)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The 101 dishes in alphabetical order."""
        return raw.CLASSES

    def rules(self, cache: Cache) -> dict[str, Rule]:
        """`official-VARIANT`, and `mmbt-VARIANT` if the three lists were prepared with the cache."""
        rules = {}
        if parts := raw.official_parts(cache.lists):
            official = cache.parts_of(parts)
            rules[f"official-{self.variant}"] = Rule(
                f"the folders train and test; text: {self.variant}",
                "validation, a tenth of each class of train",
                "accuracy",
                lambda _: official,
                note="the validation part is ours: none is published",
            )
        if lists := raw.mmbt_parts(cache.lists):
            rows = cache.parts_of(lists)
            split = f"train.jsonl, dev.jsonl and test.jsonl in MMBT's form; text: {self.variant}"
            note = "MMBT's script draws the dev part without a seed: other copies have other lists"
            rules[f"mmbt-{self.variant}"] = Rule(split, "validation", "accuracy", lambda _: rows, note=note)
        return rules

    def missing_clips(self, cache: Cache) -> dict[str, list[str]]:
        """List -> the ids of its pictures that are not in the cache."""
        return cache.absent(ids_by_list(raw.mmbt_parts(cache.lists)))
