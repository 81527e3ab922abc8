"""Runs of one submission on data whose samples may lack a modality: each is validated on those that it can see."""

import torch

from mcr_bench.bench.publish.predicted import Predicted
from mcr_bench.bench.publish.samples import Across
from mcr_bench.tests.support.records.run_rows import run_row

AUDIO = [True, False, True, False]  # of the validation samples s0 to s3


def part(ids: list[str], **present: list[bool]) -> Predicted:
    labels = torch.tensor([int(name[1:]) % 2 for name in ids])
    has = {m: torch.tensor(flags) for m, flags in present.items()}
    return Predicted(ids, ids, labels, torch.zeros(len(ids), 2), present=has)


def states(*runs: tuple[str, str, list[str], dict[str, list[bool]]]) -> dict[str, str]:
    """Run -> what is said of its samples. A run: its name, its modalities, its validation samples and who has what."""
    across = Across()
    for name, modalities, ids, present in runs:
        row = run_row(name, modalities=modalities, label=name)
        across.add(row, {"val": part(ids, **present), "test": part(["s8", "s9"])})
    return {said.run.split(" on ")[0]: said.state for said in across.checks()}


def test_a_unimodal_run_is_validated_on_the_samples_that_have_its_modality() -> None:
    every = [f"s{i}" for i in range(4)]
    joint = ("joint", "audio,video", every, {"audio": AUDIO})
    video = ("video", "video", every, {})
    assert states(joint, video, ("audio", "audio", ["s0", "s2"], {})) == dict.fromkeys(
        ("joint", "video", "audio"), "holds"
    )
    assert states(joint, video, ("audio", "audio", ["s0"], {}))["audio"] == "wrong"  # s2 has audio
    assert states(joint, ("video", "video", ["s0", "s2"], {}), ("ogm", *joint[1:]))["video"] == "wrong"


def test_without_a_run_that_tells_who_lacks_what_it_is_not_proven_and_not_wrong() -> None:
    every = [f"s{i}" for i in range(4)]
    video, audio = ("video", "video", every, {}), ("audio", "audio", ["s0", "s2"], {})
    assert states(video, audio) == {"audio": "unproven"}  # s1 and s3 may lack audio
    assert states(audio, ("text", "text", ["s1", "s3"], {})) == {"text": "unproven"}
    assert states(video, ("again", *video[1:]), audio)["again"] == "holds"
    assert states(audio, ("again", "audio", ["s0"], {})) == {"again": "wrong"}  # one modality has one validation part


def test_labels_of_common_samples_and_the_test_part_must_be_the_same_all_the_same() -> None:
    across = Across()
    for name, modality, ids, test in (("a", "audio", ["s0", "s2"], "s8"), ("v", "video", ["s0", "s1"], "s9")):
        row = run_row(name, modalities=modality, label=name)
        across.add(row, {"val": part(ids), "test": part([test])})
    (said,) = across.checks()
    assert said.state == "wrong"
    assert "1 of the test part are not in it" in said.text


def test_the_reason_names_how_many_samples_are_open_and_what_would_tell() -> None:
    across = Across()
    for name, modality, ids in (("a", "audio", ["s0", "s2"]), ("v", "video", ["s0", "s1"])):
        across.add(run_row(name, modalities=modality, label=name), {"val": part(ids), "test": part(["s8"])})
    (said,) = across.checks()
    assert "2 validation samples" in said.text
    assert "Add a run with all modalities" in said.text
