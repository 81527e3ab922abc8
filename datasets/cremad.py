"""CREMA-D: 7,442 clips of 91 actors who say twelve sentences in six emotions; face and voice."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.settings.declaration import Value, setting
from mcr_bench.datasets.base import Card, Modality, Preparation
from mcr_bench.datasets.cache.opened import Cache
from mcr_bench.datasets.clips.audio_visual import AudioVisual
from mcr_bench.datasets.clips.crossed import Crossed
from mcr_bench.datasets.clips.dataset import Recipe, Rule, Scan, Variant
from mcr_bench.datasets.clips.pairing import pairs_of
from mcr_bench.datasets.clips.rows import Plain, View, standardised_view
from mcr_bench.datasets.raw import cremad_faces, cremad_raw
from mcr_bench.datasets.raw import cremad_lists as lists

CARD = Card(
    title="CREMA-D (Cao, Cooper, Keutmann, Gur, Nenkova, Verma: Crowd-sourced Emotional Multimodal Actors Dataset, "
    "IEEE Transactions on Affective Computing 2014)",
    homepage="https://github.com/CheyneyComputerScience/CREMA-D",
    licence="Open Database License (ODbL) 1.0, contents under the Database Contents License 1.0; cite the paper",
    layout=cremad_raw.LAYOUT,
    expected="7,442 .flv and 7,442 .wav (or .mp3) of 91 actors; a partial copy keeps the clips that have both",
    download="`git clone` of the repository with git-LFS installed; folders VideoFlash and AudioWAV. Optional lists: "
    "splits.json (vavl) of the authors of the MCR paper, train.csv and test.csv (ogm) of OGM-GE's repository",
    size="VideoFlash about 2 GB, AudioWAV about 0.6 GB",
    protocols="vavl      needs splits.json and is the default with it: its folds, no actor in two parts\n"
    "speaker   needs no list and is the default without splits.json: ours, five folds over all clips, no actor in two "
    "parts\n"
    "ogm       needs train.csv and test.csv: all actors are in both",
)
FOLDS = 5
IRONY = 1  # version of how ironic samples are chosen
HELD = 14 / 91  # share of the actors in validation and in test, as in the folds of the MCR paper


@dataclass
class Cremad(AudioVisual):
    """Faces and voices: log magnitudes and frames, or waveforms and features of faces."""

    name = "cremad"
    card = CARD
    group_name = "actor"
    variants = (
        Variant(7442, "all clips of the repository"),
        Variant(6698, "OGM-GE's train.csv"),
        Variant(5820, "the vavl list"),
    )
    backbone: Literal["resnet", "conformer"] = setting(
        "resnet", "what is stored; resnet: log magnitudes and frames; conformer: waveforms and features of faces"
    )
    frames: int = setting(
        3,
        "resnet: number of frames, at 0, 1, 2, ... seconds (a short clip repeats its last frame); conformer: highest "
        "number of frames, all from the start",
        origin="MCR code",
        at_least=1,
    )
    frame_size: int = setting(
        256, "side in pixels of the stored frames (conformer: of the faces that go into the network)", at_least=8
    )
    crop: int = setting(224, "resnet: side of the frames that a model sees", origin="MCR paper", at_least=8)
    seconds: float = setting(
        3.0,
        "length of the sound in seconds; longer sound is cut; shorter sound is repeated (resnet) or kept (conformer)",
        origin="MCR code",
        at_least=0.1,
    )
    irony: float = setting(
        0.0,
        "samples of a seventh class, irony, as a share of the genuine samples of each part: voice and face are of "
        "clips of one actor and one sentence in different emotions, so that neither tells the class alone; 0: none",
        at_least=0,
        at_most=1,
    )
    weights: str = setting("", "conformer: folder of the EfficientNet-B2 that computes the features of faces")

    def scan(self, source: Path, splits: Sequence[Path]) -> Scan:
        """The clips with video and sound, and the lists; UserError if the folder or a list is not CREMA-D's."""
        return cremad_raw.scan(source, splits)

    def listed(self, source: Path, splits: Sequence[Path]) -> Scan:
        """Every clip of the lists in a folder."""
        return cremad_raw.listed_clips(source)

    def recipe(self) -> Recipe:
        """Spectrogram and frames (resnet), or waveform and features of faces (conformer)."""
        if self.backbone == "conformer":
            faces = cremad_faces.settings_of(self.weights, self.frames, self.frame_size, self.seconds)
            fields = cremad_faces.fields(faces, self.weights)
            return Recipe(self.backbone, faces, fields, cremad_faces.decoder(self.weights), cremad_faces.LIBRARIES)
        settings = {
            "version": cremad_raw.VERSION,
            "frames": self.frames,
            "frame_size": self.frame_size,
            "seconds": self.seconds,
            "sound": cremad_raw.SOUND,
        }
        return Recipe(self.backbone, settings, cremad_raw.fields(settings), cremad_raw.decode)

    def acting(self, dials: Mapping[str, Value]) -> dict[str, Value]:
        """The settings of the backbone: `crop` only for resnet; `weights` only for conformer, by their content.

        `irony` only if there are such samples, so that runs without them keep their keys.
        """
        dials = {key: value for key, value in dials.items() if key != "irony" or value}
        if self.backbone == "resnet":
            return {key: value for key, value in dials.items() if key != "weights"}
        weights = " ".join(self.recipe().settings["weights"])
        return {key: value for key, value in dials.items() if key != "crop"} | {"weights": weights}

    def prepare(self, request: Preparation) -> str:
        """Prepare the cache of the present recipe; UserError if conformer has no weights."""
        if self.backbone == "conformer":
            cremad_faces.require_weights(self.weights)
        return super().prepare(request)

    def view(self, modality: str, cache: Cache, train: Array) -> View:
        """How batches are made: waveforms standardised, frames cropped, flipped and normalised, others unchanged."""
        if self.backbone == "resnet":
            return super().view(modality, cache, train)
        return Plain("video", True) if modality == "video" else standardised_view(cache, "audio", train, padded=True)

    def modalities(self) -> dict[str, Modality]:
        """Audio (1, 257, 188) and video (3, 3, 224, 224) with the default settings.

        conformer: padded audio (16000 * seconds, 1) and padded video (frames, 1408).
        """
        if self.backbone == "conformer":
            return {m: Modality(field.shape, field.padded) for m, field in self.recipe().fields.items()}
        return super().modalities()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The six emotions in the order of OGM-GE's class list, and irony if there are such samples."""
        return (*lists.EMOTIONS.values(), "irony") if self.irony else tuple(lists.EMOTIONS.values())

    def fingerprint(self) -> str:
        """A digest of the cached arrays, labels, groups and split lists, and of the ironic samples."""
        own = super().fingerprint()
        return hashlib.sha256(f"{own} irony {IRONY} {self.irony}".encode()).hexdigest() if self.irony else own

    def crossed(self, part: Array) -> dict[str, Crossed]:
        """The ironic samples of each part; empty without the dial."""
        if not self.irony:
            return {}
        index, made = self.cache.index, {}
        for name in ("train", "val", "test"):
            at = np.flatnonzero(part == name)
            ids = [index.ids[i] for i in at]
            kin = [lists.sentence_of(clip) for clip in ids]
            pairs = at[pairs_of(ids, kin, index.labels[at], self.irony)]
            made[name] = Crossed({"audio": pairs[:, 0], "video": pairs[:, 1]}, len(lists.EMOTIONS))
        return made

    def rules(self, cache: Cache) -> dict[str, Rule]:
        """`vavl` and `ogm` if their lists were prepared with the cache; `speaker` always."""
        rules = {}
        if lists.FOLDS in cache.lists:
            rules["vavl"] = _vavl(cache)
        rules["speaker"] = _speaker(cache)
        if {lists.TRAIN, lists.TEST} <= cache.lists.keys():
            rules["ogm"] = _ogm(cache)
        return {name: self._told(rule) for name, rule in rules.items()}

    def _told(self, rule: Rule) -> Rule:
        """The rule with a note about the ironic samples, if there are any."""
        if not self.irony:
            return rule
        made = f"a seventh class is ours: irony, voice and face of different emotions, {self.irony:g} of each part"
        return replace(rule, note="; ".join(text for text in (rule.note, made) if text))

    def missing_clips(self, cache: Cache) -> dict[str, list[str]]:
        """List -> the ids of its clips that are not in the cache."""
        return cache.absent(lists.listed_clips(cache.lists))


def speaker_parts(groups: Sequence[str], fold: int) -> Array:
    """(N,) text, the part of each clip: train, val or test. groups: the actor of each of N clips; fold: 1 to 5.

    The actors lie on a circle in the order of a hash of their names, so that nothing is random and the order of the
    clips does not matter. Fold k tests on 14/91 of the actors, but at least one, from place (k - 1) / 5 of the circle
    on, and validates on the same number of actors after them.

    >>> speaker_parts(["a", "b", "c", "a"], 1).tolist()
    ['test', 'train', 'val', 'test']
    """
    actors = sorted(set(groups), key=lambda actor: hashlib.sha256(f"cremad {actor}".encode()).digest())
    held = max(1, round(len(actors) * HELD))
    first = (fold - 1) * len(actors) // FOLDS
    turned = actors[first:] + actors[:first]
    part = {actor: "test" if at < held else "val" if at < 2 * held else "train" for at, actor in enumerate(turned)}
    return np.array([part[actor] for actor in groups])


def _speaker(cache: Cache) -> Rule:
    actors = len(set(cache.index.groups))
    held = max(1, round(actors * HELD))
    return Rule(
        f"five folds over all clips: of {actors} actors {held} test, {held} others validation, the rest train",
        "validation (other actors)",
        "accuracy",
        lambda fold: speaker_parts(cache.index.groups, fold),
        tuple(range(1, FOLDS + 1)),
        "our split, not that of a paper",
    )


def _vavl(cache: Cache) -> Rule:
    table = lists.folds(cache.lists[lists.FOLDS])
    return Rule(
        f"{lists.FOLDS} of the MCR paper",
        "validation (other actors)",
        "accuracy",
        lambda fold: cache.parts_of(table[fold]),
        tuple(sorted(table)),
        "the paper uses folds 1 to 3",
    )


def _ogm(cache: Cache) -> Rule:
    table = lists.parts(cache.lists)
    return Rule(
        f"{lists.TRAIN} and {lists.TEST} of OGM-GE",
        f"validation, 10 % of each class of {lists.TRAIN}",
        "accuracy",
        lambda _: cache.parts_of(table),
        note="the lists have no validation part; this one is ours",
    )
