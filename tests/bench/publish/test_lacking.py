"""Runs of one submission on data whose samples may lack a modality: each is validated on those that it can see."""

import torch

from mcr_bench.bench.publish.predicted import Predicted
from mcr_bench.bench.publish.said import Said
from mcr_bench.bench.publish.samples import Across
from mcr_bench.tests.support.records.run_rows import run_row

AUDIO = [True, False, True, False]  # of the validation samples s0 to s3


def part(ids: list[str], **present: list[bool]) -> Predicted:
    labels = torch.tensor([int(name[1:]) % 2 for name in ids])
    has = {m: torch.tensor(flags) for m, flags in present.items()}
    return Predicted(ids, ids, labels, torch.zeros(len(ids), 2), present=has)


Run = tuple[str, str, list[str], dict[str, list[bool]]]  # name, modalities, validation samples, who has what


def said(*runs: Run, **test: list[bool]) -> list[Said]:
    """What is said of runs. test: who has what of the two test samples of the last run."""
    across = Across()
    for name, modalities, ids, present in runs:
        row = run_row(name, modalities=modalities, label=name)
        across.add(
            row, {"val": part(ids, **present), "test": part(["s8", "s9"], **(test if name == runs[-1][0] else {}))}
        )
    return list(across.checks())


def states(*runs: Run, **test: list[bool]) -> dict[str, str]:
    """Run -> what is said of its samples."""
    return {one.run.split(" on ")[0]: one.state for one in said(*runs, **test)}


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
    (one,) = across.checks()
    assert one.state == "wrong"
    assert "1 of the test part, such as 's9', are not in it" in one.text


def test_the_reason_names_how_many_samples_are_open_and_what_would_tell() -> None:
    (one,) = said(("a", "audio", ["s0", "s2"], {}), ("v", "video", ["s0", "s1"], {}))
    assert "whether the other run should have the 2 validation samples that only one of the two has" in one.text
    assert "Add a run with all modalities" in one.text


def test_a_run_that_alone_says_that_a_sample_lacks_a_modality_is_wrong_and_excuses_no_other() -> None:
    every = [f"s{i}" for i in range(4)]
    has_s2 = {"audio": AUDIO}
    joint, mcr = ("joint", "audio,video", every, has_s2), ("mcr", "audio,video", every, has_s2)
    ogm = ("ogm", "audio,video", every, {"audio": [True, False, False, False]})
    made = states(ogm, joint, mcr, ("audio", "audio", ["s0"], {}))  # s2 has audio by two of three
    assert made == {"joint": "holds", "mcr": "holds", "ogm": "wrong", "audio": "wrong"}
    (one, *_) = said(joint, ogm)
    assert (one.state, one.run.split()[0]) == ("wrong", "ogm")
    assert "the samples that have 'audio' are not those of joint on toy" in one.text
    assert "1 of the validation part, such as 's2', differ" in one.text
    assert states(joint, ("audio", "audio", every, {}), mcr)["audio"] == "wrong"  # it has s1 and s3, which lack audio


def test_who_has_what_is_the_same_in_the_test_part_too() -> None:
    every = [f"s{i}" for i in range(4)]
    joint, mcr = ("joint", "audio,video", every, {}), ("mcr", "audio,video", every, {})
    assert states(joint, mcr) == {"joint": "holds", "mcr": "holds"}
    assert states(joint, mcr, audio=[True, False]) == {"joint": "holds", "mcr": "wrong"}
    (one,) = [one for one in said(joint, mcr, audio=[True, False]) if one.state == "wrong"]
    assert "1 of the test part, such as 's9', differ" in one.text


def test_no_run_is_validated_on_samples_that_lack_all_of_its_modalities() -> None:
    first = [True, False, False, False]
    void = ("void", "audio,video", [f"s{i}" for i in range(4)], {"audio": first, "video": first})
    short = ("short", "audio,video", ["s0"], {})
    assert states(void, short) == {"void": "wrong", "short": "wrong"}
    (one, *_) = said(void, short)
    assert "lack all of its modalities, as it says itself: 3 of the validation part, such as 's1'" in one.text
    assert states(void, ("video", "video", ["s0"], {}))["video"] == "unproven"  # what cannot be excuses nobody
    assert states(void) == {"void": "wrong"}
