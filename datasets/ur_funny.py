"""UR-FUNNY: punchlines and other sentences of TED talks, each with text, audio and video features."""

from dataclasses import dataclass

from mcr_bench.datasets.base import Card
from mcr_bench.datasets.clips.dataset import Variant
from mcr_bench.datasets.clips.sequences import LAYOUT
from mcr_bench.datasets.clips.two_classes import DOWNLOAD, PROTOCOLS, TwoClasses

PICKLE = "humor.pkl"
SPLIT = "the parts of MultiBench's pickle: 8,074 train, 1,034 validation, 1,058 test"
CARD = Card(
    title="UR-FUNNY: A Multimodal Language Dataset for Understanding Humor (Hasan et al., EMNLP-IJCNLP 2019)",
    homepage="https://github.com/ROC-HCI/UR-FUNNY",
    licence="as stated by the authors; the videos are TED's; cite the paper",
    layout=LAYOUT.format(names=PICKLE, of="the pickle of MultiBench"),
    expected="10,166 samples; those without text are left out. The pickle does not name the talks, so that the audit "
    "cannot see whether two parts share one",
    download=DOWNLOAD.format(pickle=PICKLE),
    size="not verified; of the prepared samples some 1.5 GB",
    protocols=PROTOCOLS.format(split=SPLIT),
)


@dataclass
class UrFunny(TwoClasses):
    """Sequences of UR-FUNNY, funny or not."""

    name = "ur-funny"
    card = CARD
    pickles = (PICKLE,)
    split = SPLIT
    classes = ("not funny", "funny")
    variants = (Variant(10166, "MultiBench's humor.pkl"),)
