"""CMU-MOSI: 2,199 opinions in 93 videos, each with text, audio and video features and a sentiment score."""

from dataclasses import dataclass

from mcr_bench.datasets.base import Card
from mcr_bench.datasets.clips.dataset import Variant
from mcr_bench.datasets.clips.sentiment import DOWNLOAD, PROTOCOLS, Sentiment
from mcr_bench.datasets.raw.mosi_raw import layout

CARD = Card(
    title="CMU-MOSI: CMU Multimodal Opinion Sentiment Intensity (Zadeh et al., IEEE Intelligent Systems 31(6), 2016)",
    homepage="http://multicomp.cs.cmu.edu/resources/cmu-mosi-dataset/",
    licence="as stated by the authors (CMU MultiComp Lab); the videos are YouTube's; cite the paper",
    layout=layout("mosi_data.pkl"),
    expected="2,199 segments of 93 videos; those without text are left out",
    download=DOWNLOAD.format(pickle="mosi_data.pkl"),
    size="the pickle 0.15 to 0.3 GB, depending on the precision of its numbers",
    protocols=PROTOCOLS.format(videos="52/10/31"),
)


@dataclass
class Mosi(Sentiment):
    """The sequences of CMU-MOSI."""

    name = "mosi"
    card = CARD
    pickle = "mosi_data.pkl"
    folds = "52/10/31"
    variants = (Variant(2199, "every segment that has an opinion label"),)
