"""IEMOCAP: acted dialogues of ten people, with text, audio and video features aligned to words and four emotions."""

from dataclasses import dataclass, replace
from pathlib import Path

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.settings.declaration import setting
from mcr_bench.datasets.base import Card
from mcr_bench.datasets.cache.recipe import Field, Recipe
from mcr_bench.datasets.clips.sequences import LAYOUT, SequenceSet
from mcr_bench.datasets.sequences.pickles import Label
from mcr_bench.datasets.sequences.rows import LABELS
from mcr_bench.datasets.sequences.segment import Sample

PICKLE = "iemocap_data.pkl"
EMOTIONS = ("neutral", "happy", "sad", "angry")
CARD = Card(
    title="IEMOCAP: Interactive emotional dyadic motion capture database (Busso et al., Language Resources and "
    "Evaluation 42, 2008), as aligned features",
    homepage="https://sail.usc.edu/iemocap/",
    licence="the recordings are given by the authors on request (USC SAIL); cite the paper",
    layout=LAYOUT.format(names=PICKLE, of="the aligned pickle of MulT, in the form of MultiBench"),
    expected="samples of at most 20 words with a pair of numbers for each emotion; how many is not verified. The "
    "pickle does not name sessions and speakers, so that the audit cannot see whether two parts share one",
    download=f"{PICKLE}, linked from https://github.com/yaohungt/Multimodal-Transformer",
    size="the pickle some 0.3 GB",
    protocols="standard  the parts of the pickle",
)


@dataclass
class Iemocap(SequenceSet):
    """Sequences of IEMOCAP with four emotions, each of which a sample has or not."""

    name = "iemocap"
    card = CARD
    group_name = "sample"
    pickles = (PICKLE,)
    videos = False
    metric = "weighted_f1"
    label_field = LABELS

    steps: int = setting(
        20, "highest number of steps of a sample; later steps are cut off", origin="MulT code", at_least=1
    )
    audio_channels: int = setting(74, "features per step of audio", origin="MulT code", at_least=1)
    video_channels: int = setting(35, "features per step of video", origin="MulT code", at_least=1)

    def label_of(self) -> Label:
        """The number of emotions; which ones they are is a field of the cache."""
        return emotions

    def recipe(self) -> Recipe:
        """Padded sequences, and the emotions."""
        plain = super().recipe()
        fields = {**plain.fields, LABELS: Field((len(EMOTIONS),), "uint8")}
        return replace(plain, settings={**plain.settings, LABELS: True}, fields=fields)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The emotions, in the order of MulT's evaluation."""
        return EMOTIONS


def emotions(path: Path, sample: Sample) -> int:
    """How many emotions a sample has; UserError unless the file has a pair for each of the four."""
    if len(sample.labels) != len(EMOTIONS):
        raise UserError(
            f"'{path}': '{sample.name}' has {len(sample.labels)} labels. Needed: (n, 4, 2), a pair of 0 and 1 for each "
            f"of {', '.join(EMOTIONS)}. Use the pickle of MulT."
        )
    return int(sum(sample.labels))
