"""CMU-MOSEI: some 23,000 opinions in 3,227 videos, each with text, audio and video features and a sentiment score."""

from dataclasses import dataclass

from mcr_bench.bench.settings.declaration import setting
from mcr_bench.datasets.base import Card
from mcr_bench.datasets.clips.sentiment import DOWNLOAD, PROTOCOLS, Sentiment
from mcr_bench.datasets.raw.mosi_raw import layout

CARD = Card(
    title="CMU-MOSEI: CMU Multimodal Opinion Sentiment and Emotion Intensity (Zadeh et al., ACL 2018)",
    homepage="http://multicomp.cs.cmu.edu/resources/cmu-mosei-dataset/",
    licence="as stated by the authors (CMU MultiComp Lab); the videos are those of their platforms; cite the paper",
    layout=layout("mosei_senti_data.pkl"),
    expected="some 23,000 segments of 3,227 videos; those without text are left out",
    download=DOWNLOAD.format(pickle="mosei_senti_data.pkl"),
    size="the pickle 1.9 to 3.8 GB, depending on the precision of its numbers",
    protocols=PROTOCOLS.format(videos="2,249/300/678"),
)


@dataclass
class Mosei(Sentiment):
    """The sequences of CMU-MOSEI."""

    name = "mosei"
    card = CARD
    pickle = "mosei_senti_data.pkl"
    folds = "2,249/300/678"

    audio_channels: int = setting(74, "features per step of audio", origin="MultiBench", at_least=1)
    video_channels: int = setting(35, "features per step of video", origin="MultiBench", at_least=1)
