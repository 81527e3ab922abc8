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
