"""MVSA-Single: pictures of Twitter with their texts, and three sentiments."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mcr_bench.datasets.base import Card
from mcr_bench.datasets.cache.opened import Cache
from mcr_bench.datasets.clips.dataset import Rule, Scan, Variant
from mcr_bench.datasets.clips.picture_text import PictureText
from mcr_bench.datasets.raw.texts import mvsa as raw
from mcr_bench.datasets.raw.texts.sources import ids_by_list
from mcr_bench.datasets.sequences.pickles import read_parts

RULE = "neutral gives way to the other label, and a positive beside a negative label is left out"
CARD = Card(
    title="MVSA-Single (Niu et al.: Sentiment Analysis on Multi-view Social Data, MMM 2016)",
    homepage="https://mcrlab.net/research/mvsa-sentiment-analysis-on-multi-view-social-data/",
    licence="none is stated with the files; texts and pictures are those of Twitter; cite the paper",
    layout=raw.LAYOUT,
    expected="4,869 labelled pairs; the labels of 4,511 do not contradict each other, those of 2,592 agree, "
    "which are those of the lists: 1,555 train, 518 dev, 519 test (all counted). No text of the lists has "
    "more than 29 words. Texts are those of the lists where a list has the pair (emoji are ? there), else of ID.txt, "
    "which may not be UTF-8, and is then read as Latin-1 and named",
    download="MVSA_Single, linked from the homepage and from https://github.com/QingyangZhang/QMF, whose folder "
    "text-image-classification/datasets/MVSA_Single has the lists and the labels",
    size="not verified; of the prepared pairs 0.9 GB",
    protocols="lists   train.jsonl, dev.jsonl, test.jsonl of QMF, which MNL uses too: pairs whose two labels agree\n"
    f"merged  every pair: {RULE}; our split",
)


@dataclass
class MvsaSingle(PictureText):
    """A picture, its text, and negative, neutral or positive."""

    name = "mvsa-single"
    card = CARD
    group_name = "pair"
    variants = (
        Variant(4511, "every pair whose labels do not contradict each other"),
        Variant(2592, "the pairs of the lists, whose labels agree"),
    )

    def scan(self, source: Path, splits: Sequence[Path]) -> Scan:
        """The labelled pairs; UserError if the folder or a list is not MVSA-Single's."""
        return raw.scan(source, splits, self.text)

    def listed(self, source: Path, splits: Sequence[Path]) -> Scan:
        """Every labelled pair of a folder."""
        return raw.listed_pairs(source, splits)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The three sentiments."""
        return raw.CLASSES

    def rules(self, cache: Cache) -> dict[str, Rule]:
        """`lists` if the three lists were prepared with the cache, `merged` if the labels were."""
        rules = {}
        if lists := raw.parts(cache.lists):
            rows = cache.parts_of(lists)
            split = "train.jsonl, dev.jsonl and test.jsonl: the pairs whose two labels agree"
            rules["lists"] = Rule(split, "validation", "accuracy", lambda _: rows)
        if raw.MERGED in cache.lists:
            own = cache.parts_of(read_parts(cache.lists[raw.MERGED]))
            split = f"a tenth validates, a tenth tests, by a hash; pairs with the same text in one part; {RULE}"
            rules["merged"] = Rule(
                split, "validation", "accuracy", lambda _: own, note="our split, not that of a paper"
            )
        return rules

    def missing_clips(self, cache: Cache) -> dict[str, list[str]]:
        """List -> the ids of its pairs that are not in the cache."""
        return cache.absent(ids_by_list(raw.parts(cache.lists)))
