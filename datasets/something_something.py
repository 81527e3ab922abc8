"""Something-Something v2: 174 actions with everyday objects, as video and optical flow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.settings.declaration import setting
from mcr_bench.datasets.base import Card, Modality
from mcr_bench.datasets.cache.opened import Cache
from mcr_bench.datasets.clips.dataset import Clip, ClipDataset, Field, Recipe, Rule, Scan, Variant
from mcr_bench.datasets.clips.rows import View
from mcr_bench.datasets.clips.views import Flow, ScaledFrames
from mcr_bench.datasets.media.flow import LEVELS, STILL
from mcr_bench.datasets.raw.held_out import train_and_validation
from mcr_bench.datasets.raw.raw_files import VIDEO, MediaFiles, as_lines, count
from mcr_bench.datasets.raw.something_lists import FOLDER, LAYOUT, Lists, read_lists
from mcr_bench.datasets.raw.something_raw import BOUND, SETTINGS, decode

CARD = Card(
    title="Something-Something v2 (Goyal et al., ICCV 2017; the version of 2018)",
    homepage="https://www.qualcomm.com/developer/software/something-something-v-2-dataset",
    licence="Qualcomm's data licence agreement: free for research, no redistribution",
    layout=LAYOUT,
    expected=(
        "168,913 training and 24,777 validation clips of 174 classes; test.json lists 27,157 clips without labels; "
        "a partial copy keeps its clips. No person ids are published, so each clip is a group of its own"
    ),
    download=(
        "the video archives, unpacked together with "
        f"`cat {FOLDER}-?? | tar zx`, and the archive of labels; both need an account and the licence"
    ),
    size="about 20 GB; prepared at 224 pixels 780 GB (4.0 MB a clip), at dataset.frame_size=112 195 GB",
)


@dataclass
class SomethingSomething(ClipDataset):
    """Frames and the optical flow between them."""

    name = "something-something"
    card = CARD
    variants = (
        Variant(193_690, "all training and validation clips of version 2"),
        Variant(168_913, "the training clips of version 2"),
        Variant(24_777, "the validation clips of version 2"),
    )
    frames: int = setting(16, "number of frames of a clip", origin="MCR paper", at_least=1)
    stride: int = setting(
        8,
        "distance of these frames in frames of the video; after its end the last frame is repeated",
        origin="MCR paper",
        at_least=1,
    )
    frame_size: int = setting(
        224, "side in pixels of the stored frames and flow, which are squares of the whole picture", at_least=8
    )
    crop: int = setting(224, "side in pixels of the frames that the model sees", origin="MCR paper", at_least=8)

    def scan(self, source: Path, splits: Sequence[Path]) -> Scan:
        """The available clips of train.json and validation.json, in the order of ids."""
        lists = read_lists(source, splits)
        place, media = _place(source), MediaFiles(".webm", VIDEO)
        files, problems = media.one_per_clip(place), list(lists.problems)
        labels = lists.parts["train"] | lists.parts["validation"]
        stray = files.keys() - labels.keys() - lists.unlabelled
        if stray:
            problems.append((count(len(stray), "clip"), f"are not in any list, {min(stray)}.webm first"))
        problems += [(f"{clip}.webm", "is listed, but missing") for clip in sorted(labels.keys() - files.keys())]
        clips = [Clip(i, labels[i], i, {"video": files[i]}) for i in sorted(labels.keys() & files.keys())]
        if not clips:
            ignored = as_lines(media.notes(place.name, ()))
            raise UserError(f"'{source}' has no .webm file of the clips in its lists.{ignored}\nExpected:\n{LAYOUT}")
        media.ignored.pop(".json", None)  # the lists, which may be in the folder of the clips
        notes = media.notes(place.name, (clip.files["video"] for clip in clips))
        return Scan(clips, problems, _kept(lists), notes)

    def listed(self, source: Path, splits: Sequence[Path]) -> Scan:
        """Every clip of train.json and validation.json in a folder."""
        lists = read_lists(source, splits)
        labels = lists.parts["train"] | lists.parts["validation"]
        return Scan([Clip(i, labels[i], i, {}) for i in sorted(labels)], list(lists.problems), _kept(lists))

    def recipe(self) -> Recipe:
        """Frames and flow as uint8 squares; `crop` is applied during training."""
        dials = {"frames": self.frames, "stride": self.stride, "frame_size": self.frame_size}
        square = (self.frame_size, self.frame_size)
        fields = {
            "video": Field((self.frames, 3, *square), "uint8"),
            "flow": Field((self.frames, 2, *square), "uint8"),
            "aspect": Field((), "float32"),
        }
        return Recipe(self.name, SETTINGS | dials, fields, decode)

    def view(self, modality: str, cache: Cache, train: Array) -> View:
        """How batches are made: frames normalised as in ImageNet, flow in pixels as an image (u, v, 0).

        Both are cropped in the same way, and not flipped.
        """
        if modality == "video":
            return ScaledFrames("video", self.crop)
        return Flow("flow", self.crop, zero=STILL, unit=BOUND / LEVELS)

    def modalities(self) -> dict[str, Modality]:
        """Video and flow, each (frames, 3, crop, crop)."""
        shape = (self.frames, 3, self.crop, self.crop)
        return {"video": Modality(shape), "flow": Modality(shape)}

    @property
    def class_names(self) -> tuple[str, ...]:
        """The templates without brackets, in the order of labels.json."""
        return tuple(self.cache.lists["classes.txt"].decode().split("\n"))

    def rules(self, cache: Cache) -> dict[str, Rule]:
        """`official`: the published validation clips are the test part, because test.json has no labels."""
        named = {name: _labels(cache.lists[f"{name}.txt"]) for name in ("train", "validation")}
        part = cache.parts_of(train_and_validation(named["train"]) | dict.fromkeys(named["validation"], "test"))
        return {
            "official": Rule(
                split="train.json trains, validation.json tests (test.json has no labels)",
                selection=(
                    "validation: ours, a tenth of each class of train.json, "
                    "the clips with the lowest SHA-256 of their ids, chosen from the whole list whichever clips are "
                    "available; not trained on"
                ),
                metric="accuracy",
                part=lambda _: part,
                note="no person ids are published: each clip is a group of its own, and people may be in two parts",
            )
        }


def _place(source: Path) -> Path:
    """The folder of the videos: the official one or, if it is missing, SOURCE itself."""
    folders = [p for p in sorted(source.iterdir()) if p.is_dir() and p.name.lower() == FOLDER]
    return folders[0] if folders else source


def _kept(lists: Lists) -> dict[str, bytes]:
    """The lists as they are kept in the cache."""
    parts = {f"{part}.txt": _table(of) for part, of in lists.parts.items()}
    return {**parts, "classes.txt": "\n".join(lists.classes).encode()}


def _table(labels: Mapping[str, int]) -> bytes:
    """A list as it is kept in the cache: one line for each clip, with id and class index."""
    return "".join(f"{clip} {labels[clip]}\n" for clip in sorted(labels)).encode()


def _labels(table: bytes) -> dict[str, int]:
    rows = (line.split() for line in table.decode().splitlines())
    return {clip: int(label) for clip, label in rows}
