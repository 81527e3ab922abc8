"""MUStARD: 690 utterances of television shows, sarcastic or not, each with text, audio and video features."""

from dataclasses import dataclass

from mcr_bench.datasets.base import Card
from mcr_bench.datasets.clips.dataset import Variant
from mcr_bench.datasets.clips.sequences import LAYOUT
from mcr_bench.datasets.clips.two_classes import DOWNLOAD, PROTOCOLS, TwoClasses

PICKLE = "sarcasm.pkl"
SPLIT = "the parts of MultiBench's pickle: 414 train, 138 validation, 138 test"
CARD = Card(
    title="MUStARD: Towards Multimodal Sarcasm Detection (Castro et al., ACL 2019)",
    homepage="https://github.com/soujanyaporia/MUStARD",
    licence="as stated by the authors; the videos are those of their shows; cite the paper",
    layout=LAYOUT.format(names=PICKLE, of="the pickle of MultiBench"),
    expected="690 samples; those without text are left out. The pickle does not name shows and speakers, so that the "
    "audit cannot see whether two parts share one",
    download=DOWNLOAD.format(pickle=PICKLE),
    size="not verified; of the prepared samples some 0.1 GB",
    protocols=PROTOCOLS.format(split=SPLIT),
)


@dataclass
class Mustard(TwoClasses):
    """Sequences of MUStARD, sarcastic or not."""

    name = "mustard"
    card = CARD
    pickles = (PICKLE,)
    split = SPLIT
    classes = ("not sarcastic", "sarcastic")
    variants = (Variant(690, "MultiBench's sarcasm.pkl"),)
