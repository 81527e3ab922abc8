"""The audit of protocols: by hand on small parts, and on the official lists of real sets."""

import csv
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from mcr_bench.bench.audit.verify import FoldAudit, Verification, audited, verification_of
from mcr_bench.bench.audit.verify_text import data_of, text_of
from mcr_bench.bench.problem.inventory import Inventory, parts_of
from mcr_bench.bench.problem.overlaps import Overlap, Parts, audit, histogram, is_selected_on_test, note_of, sentence
from mcr_bench.bench.task import Task
from mcr_bench.datasets.base import Card, Dataset, Facts, Modality, Protocol, Split, Splits
from mcr_bench.datasets.cache.recipe import Clip, Scan
from mcr_bench.tests.support.runs.pretended import name_files, pretend

REAL = Path(os.environ.get("MCR_BENCH_TEST_DATA", "missing"))


def real(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (REAL / name).is_dir(), reason=f"MCR_BENCH_TEST_DATA has no {name} folder")


def parts(rows: str, group_name: str = "group") -> Parts:
    """'train:a:g1:c1:0' each: part, id, group, content, label; 'unused' is no part."""
    table = [row.split(":") for row in rows.split()]
    part, ids, groups, contents, labels = (list(column) for column in zip(*table, strict=True))
    at = np.array([name.replace("unused", "") for name in part])
    return Parts(at, ids, groups, contents, np.array([int(label) for label in labels]), group_name)


CLEAN = "train:a:g1:c1:0 train:b:g1:c2:1 val:c:g2:c3:0 test:d:g3:c4:1"
SPEAKERS = "train:a:1:c1:0 train:b:2:c2:1 val:c:1:c3:0 val:d:2:c4:1 test:e:1:c5:1 test:f:2:c6:0"
VIDEOS = "train:a:v1:c1:0 train:b:v2:c2:1 train:c:v3:c3:1 val:d:v1:c4:2 val:e:v4:c5:0 test:f:v2:c6:0 test:g:v5:c7:1"


def test_disjoint_parts_have_no_finding() -> None:
    assert audit(parts(CLEAN)) == []
    assert note_of({1: parts(CLEAN)}) == ""


def test_what_is_unused_leaks_nothing() -> None:
    assert audit(parts(f"{CLEAN} unused:a:g3:c4:0 unused:x:g2:c3:0")) == []


def test_ids_groups_and_contents_are_each_compared() -> None:
    assert audit(parts("train:a:g1:c1:0 val:a:g2:c2:0 test:z:g3:c3:0")) == [Overlap("id", ("train", "val"), 1, 1, 0)]
    assert audit(parts("train:a:g1:c1:0 val:b:g2:c2:0 test:z:g1:c3:0")) == [
        Overlap("group", ("train", "test"), 1, 1, 0)
    ]
    overlaps = audit(parts("train:a:g1:c1:0 train:k:g1:c9:0 val:b:g2:c2:0 val:l:g2:c8:0 test:z:g3:c2:1 test:y:g3:c7:1"))
    assert overlaps == [Overlap("content", ("val", "test"), 1, 2, 1)]


def test_groups_that_nobody_knows_are_not_compared() -> None:
    assert audit(replace(parts(SPEAKERS), groups=[])) == []


def test_the_total_is_that_of_the_part_with_fewer_keys() -> None:
    assert [(o.parts, o.shared, o.total) for o in audit(parts(VIDEOS))] == [
        (("train", "val"), 1, 2),
        (("train", "test"), 1, 2),
    ]


def test_labels_tell_a_reused_video_from_a_repeated_one() -> None:
    assert [overlap.relabelled for overlap in audit(parts(VIDEOS))] == [1, 1]
    same = VIDEOS.replace("val:d:v1:c4:2", "val:d:v1:c4:0")
    assert [overlap.relabelled for overlap in audit(parts(same))] == [0, 1]
    assert "other labels" not in sentence(audit(parts(same)))


def test_sentences() -> None:
    videos = sentence(audit(parts(VIDEOS, "video")))
    assert videos == "1 video is in train and validation, 1 in train and test, all under other labels"
    speakers = sentence(audit(parts(SPEAKERS, "actor")))
    places = "in train and validation, in train and test, in validation and test"
    assert speakers == f"2 of 2 groups (actors) are {places}"
    assert sentence([Overlap("id", ("train", "test"), 1200, 5000, 0)]) == "1,200 ids are in train and test"
    mixed = [Overlap("group", ("train", "val"), 3, 3, 0), Overlap("group", ("train", "test"), 2, 4, 0)]
    assert sentence(mixed) == "3 of 3 groups are in train and validation, 2 groups in train and test"


def test_notes_of_cards() -> None:
    assert (
        note_of({1: parts(SPEAKERS.replace("val", "unused"), "actor")})
        == "LEAK: 2 of 2 groups (actors) in train and test"
    )
    assert note_of({1: parts(VIDEOS, "video")}) == "LEAK: 1 video in train and validation, in train and test"


def test_a_note_names_the_folds_unless_it_is_all_of_them() -> None:
    leak = parts("train:a:g1:c1:0 train:b:g2:c2:0 val:c:g3:c3:0 val:d:g4:c4:0 test:e:g1:c5:0 test:f:g5:c6:0")
    worse = parts(
        "train:a:g1:c1:0 train:b:g2:c2:0 val:c:g3:c3:0 val:d:g4:c4:0 test:e:g1:c5:0 test:f:g2:c6:0 test:g:g6:c7:0"
    )
    assert note_of({1: leak, 2: parts(CLEAN)}) == "LEAK: 1 group in train and test (fold 1)"
    assert note_of({1: leak, 2: parts(CLEAN), 3: worse}) == "LEAK: 2 of 2 groups in train and test (folds 1, 3)"
    assert note_of({1: leak, 3: leak}) == "LEAK: 1 group in train and test"


def test_the_histogram_counts_each_part() -> None:
    assert histogram(parts(VIDEOS), 4) == {"train": [1, 2, 0, 0], "val": [1, 0, 1, 0], "test": [1, 1, 0, 0]}


def test_selection_on_the_test_set_is_seen() -> None:
    assert not is_selected_on_test(parts(SPEAKERS))
    assert is_selected_on_test(parts("train:a:g1:c1:0 val:b:g2:c2:0 val:c:g3:c3:0 test:c:g4:c4:0"))


def split(ids: str, values: list[list[float]], groups: list[str] | None = None) -> Split:
    return Split({"x": torch.tensor(values)}, torch.zeros(len(ids), dtype=torch.long), list(ids), groups)


def test_equal_samples_of_loaded_splits_have_equal_contents() -> None:
    many = [[float(i), 0.0] for i in range(300)]  # more than one block
    samples = parts_of(
        {"train": split("a" * 300, many), "val": split("b", [[299.0, 0.0]]), "test": split("c", [[0.5, 1.0]])}, "group"
    )
    assert len(set(samples.contents)) == 301
    assert [o for o in audit(samples) if o.kind == "content"] == [Overlap("content", ("train", "val"), 1, 1, 0)]


def test_lengths_are_part_of_the_content() -> None:
    one, other = split("a", [[1.0]]), split("b", [[1.0]])
    one.lengths["x"], other.lengths["x"] = torch.tensor([1]), torch.tensor([2])
    assert len(set(parts_of({"train": one, "test": other}, "group").contents)) == 2


def test_a_fold_of_classes_and_one_of_scores() -> None:
    fold = audited(3, parts(VIDEOS), 4)
    assert fold.sizes == {"train": 3, "val": 2, "test": 2, "": 0}
    assert fold.groups == {"train": 3, "val": 2, "test": 2}
    assert fold.absent("train") == [2, 3]
    assert fold.spread == {}
    scores = audited(1, replace(parts(CLEAN), labels=np.array([-3.0, 1.0, 2.5, 0.0])), None)
    assert scores.spread == {"train": (-3.0, -1.0, 1.0), "val": (2.5, 2.5, 2.5), "test": (0.0, 0.0, 0.0)}
    assert scores.classes == {}


KNOWN = ((7442, "every clip"), (5820, "the vavl list"))


@pytest.mark.parametrize(
    ("clips", "variants", "text", "partial"),
    [
        (5820, KNOWN, "5,820 of 7,442: the vavl list", False),
        (7442, KNOWN, "7,442 of 7,442: every clip", False),
        (12, KNOWN, "12 clips, no known state (known: 7,442 every clip, 5,820 the vavl list)", True),
        (12, (), "12 clips", False),
    ],
)
def test_known_states(clips: int, variants: tuple[tuple[int, str], ...], text: str, partial: bool) -> None:
    inventory = Inventory(clips, variants)
    assert inventory.counted() == text
    assert inventory.is_partial == partial


def test_without_known_states_what_is_left_out_or_missing_makes_it_partial() -> None:
    assert Inventory(3, left_out=(("a", "damaged"),)).is_partial
    assert Inventory(3, missing={"list": ["b"]}).is_partial
    assert not Inventory(3, missing={"list": []}).is_partial


def verified(fold: FoldAudit, inventory: Inventory, damaged: list[str] | None = None) -> Verification:
    protocol = Protocol("only", "by hand", "validation", "accuracy")
    names = ("walk", "run", "sit", "fall")
    return Verification("toy", "the authors", inventory, names, "video", [(protocol, [fold])], damaged)


def test_the_text_names_leaks_absent_classes_and_where_to_ask() -> None:
    left_out = tuple((f"c{i}", "truncated") for i in range(12))
    inventory = Inventory(7, ((9, "the whole set"), (7, "the small one")), left_out, {"list.txt": ["x", "y"]})
    text = text_of(verified(audited(1, parts(VIDEOS, "video"), 4), replace(inventory, variants=((9, "all"),)), ["b"]))
    lines = text.splitlines()
    assert lines[0] == "toy: 7 clips, no known state (known: 9 all)"
    assert "left out: c9: truncated" in lines
    assert "left out: 2 more, which --json lists" in lines
    assert "missing: 2 of the clips in list.txt: x, y" in lines
    assert "where to ask for missing clips: the authors" in lines
    assert "damaged, prepare again: b" in lines
    assert "only: by hand; selected on validation; metric accuracy; folds [1]" in lines
    assert "  fold 1: train 3, validation 2, test 2" in lines
    assert "    videos: train 3, validation 2, test 2" in lines
    assert any(line.startswith("    LEAK by group (video): 1 video is in train and validation, 1 in") for line in lines)
    assert "    train, validation and test are disjoint by id, by content" in lines
    assert "    the selection set is not the test set" in lines
    assert "    classes (train/validation/test): walk 1/1/1; run 2/0/1; sit 0/1/0; fall 0/0/0" in lines
    assert "    absent from train: sit; fall" in lines


def test_selection_on_the_test_set_is_called_a_leak() -> None:
    fold = audited(1, parts("train:a:g1:c1:0 val:b:g2:c2:1 test:b:g2:c2:1"), 4)
    assert (
        "    LEAK: the selection set holds samples of the test set"
        in text_of(verified(fold, Inventory(3))).splitlines()
    )


def test_the_data_hold_every_name() -> None:
    left_out = tuple((f"c{i}", "truncated") for i in range(12))
    data = json.loads(json.dumps(data_of(verified(audited(1, parts(VIDEOS, "video"), 4), Inventory(7, (), left_out)))))
    assert len(data["left_out"]) == 12
    assert data["damaged"] is None
    (fold,) = data["protocols"][0]["folds"]
    assert fold["sizes"] == {"train": 3, "validation": 2, "test": 2, "unused": 0}
    assert fold["leaks"][0]["parts"] == ["train", "validation"]
    assert fold["classes"]["train"] == {"walk": 1, "run": 2, "sit": 0, "fall": 0}
    assert fold["absent_classes"]["test"] == ["sit", "fall"]


class Held(Dataset):
    """Four samples in memory; one of them is in train and in test."""

    name: ClassVar[str] = "held"
    card: ClassVar[Card] = Card("Held", "", "none", "no files", "four samples")

    def facts(self) -> Facts:
        return Facts({"x": Modality((1,))}, Task(2), ("no", "yes"))

    def protocols(self) -> dict[str, Protocol]:
        return {"p": Protocol("p", "fixed", "validation", "accuracy", (1, 2))}

    def fingerprint(self) -> str:
        return "held"

    def load(self, protocol: str, fold: int, seed: int, modalities: tuple[str, ...]) -> Splits:
        again = [[0.0]] if fold == 2 else [[3.0]]
        return Splits(split("ab", [[0.0], [1.0]], ["1", "2"]), split("c", [[2.0]], ["3"]), split("d", again, ["4"]))


def test_any_adapter_can_be_verified(tmp_path: Path) -> None:
    result = verification_of(Held(tmp_path), False)
    assert result.inventory.clips == 4
    first, second = result.protocols[0][1]
    assert first.overlaps == []
    assert second.overlaps == [Overlap("content", ("train", "test"), 1, 1, 0)]


@real("cremad")
def test_both_protocols_of_crema_d(tmp_path: Path) -> None:
    from mcr_bench.datasets.cremad import Cremad

    lists = [REAL / "cremad/ogm_ge/train.csv", REAL / "cremad/ogm_ge/test.csv", REAL / "cremad/vavl/splits.json"]
    ids = [row[0] for path in lists[:2] for row in csv.reader(path.read_text().splitlines())]
    emotions = {"NEU": 0, "HAP": 1, "SAD": 2, "FEA": 3, "DIS": 4, "ANG": 5}
    clips = [Clip(key, emotions[key[9:12]], key[:4], {}) for key in sorted(ids)]
    contents = {path.name: path.read_bytes() for path in lists}
    result = verification_of(pretend(Cremad(tmp_path / "data/cremad"), Scan(clips, lists=contents)), False)
    assert "7,442 of 7,442" in text_of(result)
    assert "fold 1: train 4,043, validation 878, test 899, unused 1,622 (5,820 of 7,442: the vavl list)" in text_of(
        result
    )
    folds = {protocol.name: folds for protocol, folds in result.protocols}
    assert all(fold.overlaps == [] for fold in folds["vavl"] + folds["speaker"])
    assert [(o.kind, o.parts, o.shared, o.total) for o in folds["ogm"][0].overlaps] == [
        ("group", ("train", "val"), 91, 91),
        ("group", ("train", "test"), 91, 91),
        ("group", ("val", "test"), 91, 91),
    ]
    assert folds["ogm"][0].sizes["test"] == 744
    cards = {protocol.name: protocol.card for protocol, _ in result.protocols}
    assert "LEAK: 91 of 91 groups (actors) in train and validation, in train and test" in cards["ogm"]
    assert "LEAK" not in cards["vavl"] + cards["speaker"]
    assert "LEAK by group (actor): 91 of 91 groups (actors) are in train and validation, in train and" in text_of(
        result
    )


@real("ave")
def test_both_protocols_of_ave(tmp_path: Path) -> None:
    from mcr_bench.datasets.ave import Ave

    for path in (REAL / "ave").glob("*.txt"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    videos = {line.split("&")[1] for line in (REAL / "ave/Annotations.txt").read_text().splitlines()}
    name_files(tmp_path / "AVE", (f"{video}.mp4" for video in videos))
    data = Ave(tmp_path / "data/ave")
    result = verification_of(pretend(data, data.scan(tmp_path, ())), False)
    assert "LEAK by group (video): 10 videos are in train and validation, 8 in train and test, all under" in text_of(
        result
    )
    (official, (leaky,)), (dedup, (clean,)) = result.protocols
    assert [(o.parts, o.shared, o.relabelled) for o in leaky.overlaps] == [
        (("train", "val"), 10, 10),
        (("train", "test"), 8, 8),
    ]
    assert (official.name, dedup.name) == ("official", "official-dedup")
    assert official.note == "LEAK: 10 videos in train and validation, 8 videos in train and test"
    assert clean.overlaps == []
    assert "LEAK" not in dedup.card


@real("ucf101")
def test_groups_of_ucf101_are_disjoint(tmp_path: Path) -> None:
    from mcr_bench.datasets.ucf101 import Ucf101

    lists = next((REAL / "ucf101").rglob("testlist01.txt")).parent
    clips = {line.split()[0] for path in lists.glob("t*list0?.txt") for line in path.read_text().splitlines() if line}
    for name in {clip.split("/")[0] for clip in clips}:
        (tmp_path / "UCF-101" / name).mkdir(parents=True)
    name_files(tmp_path / "UCF-101", clips)
    (tmp_path / "ucfTrainTestlist").symlink_to(lists)
    data = Ucf101(tmp_path / "data/ucf101")
    result = verification_of(pretend(data, data.scan(tmp_path, ())), False)
    assert [(protocol.name, len(folds)) for protocol, folds in result.protocols] == [("official", 3)]
    assert all(fold.overlaps == [] for fold in result.protocols[0][1])
    assert "LEAK" not in text_of(result)


@pytest.mark.parametrize(
    ("known", "kinds"), [(True, "by id, by group (video), by content"), (False, "by id, by content")]
)
def test_parts_are_disjoint_by_what_is_known_of_them(known: bool, kinds: str) -> None:
    clean = parts(CLEAN) if known else replace(parts(CLEAN), groups=[])
    lines = text_of(verified(audited(1, clean, 4), Inventory(4))).splitlines()
    assert f"    train, validation and test are disjoint {kinds}" in lines
    assert ("    groups are not compared: they are unknown" in lines) is not known
