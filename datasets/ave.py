"""AVE: 4,143 audible and visible events of 28 classes in 4,097 videos of ten seconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mcr_bench.bench.settings.declaration import setting
from mcr_bench.datasets.base import Card
from mcr_bench.datasets.cache.opened import Cache
from mcr_bench.datasets.clips.audio_visual import AudioVisual
from mcr_bench.datasets.clips.dataset import Recipe, Rule, Scan, Variant
from mcr_bench.datasets.raw import ave_raw

CARD = Card(
    title="AVE: Audio-Visual Event dataset (Tian et al., Audio-Visual Event Localization in Unconstrained Videos, ECCV "
    "2018)",
    homepage="https://sites.google.com/view/audiovisualresearch",
    licence="none is stated; the videos are YouTube's, chosen from AudioSet; ask the authors, and cite the paper",
    layout=ave_raw.LAYOUT,
    expected="4,143 events of 4,097 videos: 3,339 train, 402 validation, 402 test. One of them (VWi2ENBuTbw, train) "
    "lasts 0 s and is left out. A partial copy keeps the events with available videos",
    download="the archive of videos and lists on Google Drive, linked from https://github.com/YapengTian/AVE-ECCV18; "
    "SOURCE is its unpacked folder AVE_Dataset",
    protocols="official        the lists as they are (10 videos in train and validation, 8 in train and test)\n"
    "official-dedup  without the training events of these videos",
)


@dataclass
class Ave(AudioVisual):
    """Sound and a few frames of each event."""

    name = "ave"
    card = CARD
    group_name = "video"
    variants = (Variant(4142, "all of Annotations.txt except the event that lasts 0 s"),)
    backbone: Literal["resnet", "transformers"] = setting(
        "resnet", "what is stored of the sound; resnet: log power spectrograms; transformers: waveforms of 16 kHz"
    )
    frames: int = setting(
        4,
        "how many of the 10 frames of an event are stored, from its start (transformers: 10)",
        origin="MCR code",
        at_least=1,
        at_most=ave_raw.SAMPLED,
    )

    def scan(self, source: Path, splits: Sequence[Path]) -> Scan:
        """The events with available videos; UserError if the folder or a list is not AVE's."""
        return ave_raw.scan(source, splits)

    def listed(self, source: Path, splits: Sequence[Path]) -> Scan:
        """Every event of the lists in a folder."""
        return ave_raw.listed_clips(source, splits)

    def recipe(self) -> Recipe:
        """Spectrogram (1, 257, 1004) or waveform (160000,) float16, and frames uint8, of the event alone."""
        settings = {
            "version": ave_raw.VERSION,
            "backbone": self.backbone,
            "frames": self.frames,
            "frame_size": self.frame_size,
        }
        return Recipe(self.backbone, settings, ave_raw.fields(settings), ave_raw.decode)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The 28 classes in alphabetical order."""
        return ave_raw.CLASSES

    def rules(self, cache: Cache) -> dict[str, Rule]:
        """`official` and `official-dedup`, from the lists that were prepared with the cache."""
        official = ave_raw.parts(cache.lists)
        leave = ave_raw.leaving(cache.lists)
        kept = official | dict.fromkeys((event.id for event in leave), "")
        videos = len({event.video for event in leave})
        counts = ", ".join(f"{n} from {name}" for name in ("train", "val") if (n := [*leave.values()].count(name)))
        removed = f"{len(leave)} events of {videos} videos are removed ({counts})" if leave else "no event is removed"
        return {
            "official": _rule("trainSet.txt, valSet.txt and testSet.txt", official, cache),
            "official-dedup": _rule(
                "as official; videos of several parts stay in the last of train, validation, test", kept, cache, removed
            ),
        }

    def missing_clips(self, cache: Cache) -> dict[str, list[str]]:
        """List -> the ids of its events that are not in the cache."""
        events = {name: ave_raw.events(name, cache.lists[name]) for name in ave_raw.PARTS}
        return cache.absent({name: [event.id for event in listed] for name, listed in events.items()})


def _rule(split: str, part: dict[str, str], cache: Cache, note: str = "") -> Rule:
    rows = cache.parts_of(part)
    return Rule(split, "validation", "accuracy", lambda _: rows, note=note)
