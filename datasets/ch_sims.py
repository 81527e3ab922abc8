"""CH-SIMS: 2,281 segments of Chinese films and shows, scored as a whole and for each modality alone."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.settings.declaration import setting
from mcr_bench.bench.task import TARGET_SCALE, Task
from mcr_bench.datasets.base import Card, Facts
from mcr_bench.datasets.cache.opened import Cache
from mcr_bench.datasets.cache.recipe import Field, Recipe
from mcr_bench.datasets.clips.dataset import Variant
from mcr_bench.datasets.clips.sequences import LAYOUT, OF_AUDIO, OF_VIDEO, SequenceSet
from mcr_bench.datasets.sequences.pickles import Label
from mcr_bench.datasets.sequences.rows import OWN
from mcr_bench.datasets.sequences.segment import AGAIN, MODALITIES, Sample

PICKLE = "unaligned_39.pkl"
SPLIT = "the parts of MMSA's pickle: 1,368 train, 457 test; validation from memory 456, not verified"
HIGHEST = 1.0  # scores are from -1 to 1
CARD = Card(
    title="CH-SIMS: A Chinese Multimodal Sentiment Analysis Dataset with Fine-grained Annotation of Modality (Yu et "
    "al., ACL 2020)",
    homepage="https://github.com/thuiar/MMSA",
    licence="as stated by the authors; the videos are those of their films and shows; cite the paper",
    layout=LAYOUT.format(names=PICKLE, of="the pickle of MMSA"),
    expected="2,281 segments, of which 1,368 train and 457 test; the 456 validation segments, and so the sum, are "
    "from memory and not verified; segments without text, audio or video are left out",
    download=f"{PICKLE}, linked from https://github.com/thuiar/MMSA",
    size="not verified; of the prepared segments some 0.75 GB",
    protocols=f"standard  {SPLIT}",
)


@dataclass
class ChSims(SequenceSet):
    """Sequences of CH-SIMS with a score from -1 to 1, and a score of each modality alone."""

    name = "ch-sims"
    card = CARD
    group_name = "video"
    pickles = (PICKLE,)
    split = SPLIT
    metric = "mae"
    variants = (Variant(2281, "MMSA's unaligned_39.pkl"),)

    own_truth: Literal["given", "none"] = setting(
        "given",
        "what own heads learn where a run has several modalities; given: the score that people gave on seeing or "
        "hearing this modality alone, with which their metrics compare them too; none: the score of the whole segment",
    )
    target_scale: Literal["standard", "none"] = setting("none", TARGET_SCALE)
    steps: int = setting(39, "highest number of steps of the text; later steps are cut off", origin="MMSA", at_least=1)
    text_channels: int = setting(768, "features per step of text", origin="MMSA", at_least=1)
    audio_channels: int = setting(33, "features per step of audio", origin="MMSA", at_least=1)
    video_channels: int = setting(709, "features per step of video", origin="MMSA", at_least=1)
    audio_steps: int = setting(400, OF_AUDIO, origin="MMSA", at_least=0)
    video_steps: int = setting(55, OF_VIDEO, origin="MMSA", at_least=0)

    def label_of(self) -> Label:
        """The score, once all scores of the sample have been checked."""
        return score if self.own_truth == "none" else score_with_own

    def recipe(self) -> Recipe:
        """Padded sequences, and the score of each modality if `own_truth` asks for it."""
        plain = super().recipe()
        if self.own_truth == "none":
            return plain
        own = {f"{OWN}{m}": Field((), "float64") for m in MODALITIES}
        return replace(plain, settings={**plain.settings, "own": list(MODALITIES)}, fields={**plain.fields, **own})

    def own_labels(self, cache: Cache) -> dict[str, Array]:
        """The score of each modality alone, if `own_truth` asks for it."""
        return {} if self.own_truth == "none" else {m: cache.scalars(f"{OWN}{m}") for m in MODALITIES}

    def facts(self) -> Facts:
        """Modalities and the task, with scores in the unit of `target_scale`."""
        return replace(super().facts(), task=Task(None, self.target_scale, sentiment=1))

    @property
    def class_names(self) -> tuple[str, ...]:
        """None: what is learned is a score."""
        return ()


def score(path: Path, sample: Sample) -> float:
    """The score of a segment; UserError unless it is one number from -1 to 1."""
    if len(sample.labels) > 1:
        raise UserError(f"'{path}': '{sample.id}' has {len(sample.labels)} labels. Needed: one score each.")
    return _checked(path, f"the score of '{sample.id}'", sample.labels[0])


def score_with_own(path: Path, sample: Sample) -> float:
    """The score of a segment; UserError unless the file has a score of each modality too, all from -1 to 1."""
    if len(sample.own) < len(MODALITIES):
        raise UserError(
            f"'{path}' has no regression_labels_T, _A and _V, the scores of each modality alone. Use MMSA's {PICKLE}, "
            "or do without them: --set dataset.own_truth=none."
        )
    for m, y in sample.own.items():
        _checked(path, f"the score of the {m} of '{sample.id}'", y)
    return score(path, sample)


def _checked(path: Path, what: str, value: float) -> float:
    if not abs(value) <= HIGHEST:
        raise UserError(f"'{path}': {what} is {value:g}; allowed: -1 to 1. {AGAIN}")
    return value
