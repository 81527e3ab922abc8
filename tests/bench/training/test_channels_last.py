"""Whole runs with the channels last, here on the CPU: the same key, results equal within rounding, and a tag."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mcr_bench.bench.core import device as devices
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.runs.events import EpochDone, Event, Job, RunDone
from mcr_bench.bench.training.loop import fit_run

# With 4 channels last, PyTorch 2.13 damages memory in the backward pass of ResNet-18 on processors without AVX-512.
SMALL = {"epochs": ["1"], "batch_size": ["12"], "encoder.width": ["8"], "model.width": ["6"], "clip_norm": ["1.0"]}
# Dropout between convolutions draws in the order of memory, and so for other elements.
SMALL |= {"encoder.dropout": ["0"]}


def trained(data: Path, method: str, kind: str, home: Path) -> tuple[list[dict[str, float]], dict[str, str], Any]:
    """The metrics of every epoch; the tags; the weights."""
    overrides = SMALL | {"encoder.face.kind": [kind], "encoder.clip.kind": [kind]}
    spec = make_plan(Request([method], [str(data)], seeds=[1], overrides=overrides)).runs[-1]
    events: list[Event] = []
    fit_run(Job(spec, "cpu", home, {}, home / "weights.pt"), events.append)
    tags = next(e.tags for e in events if isinstance(e, RunDone)) | {"key": spec.key}
    logged = [e.metrics for e in events if isinstance(e, EpochDone)]
    return logged, tags, torch.load(home / "weights.pt", weights_only=True)


@pytest.mark.parametrize(("method", "kind"), [("joint", "resnet18"), ("agm", "conv2d"), ("mcr", "conv2d")])
def test_a_run_with_the_channels_last(method: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    y, split = np.arange(24) % 3, np.repeat(["train", "val", "test"], [12, 6, 6])
    shapes = {"face": (3, 33, 34), "clip": (2, 3, 32, 32)}
    arrays = {
        f"x_{m}": rng.normal(size=(24, *shape)).astype("float32") + y.reshape(-1, *[1] * len(shape))
        for m, shape in shapes.items()
    }
    np.savez(tmp_path / "images.npz", y=y, split=split, **arrays)
    plain = trained(tmp_path / "images.npz", method, kind, tmp_path / "plain")
    monkeypatch.setattr(devices, "prefers_channels_last", lambda _device: True)
    last = trained(tmp_path / "images.npz", method, kind, tmp_path / "last")
    assert last[1]["rounding/channels_last"] == "face,clip"
    assert "rounding/channels_last" not in plain[1]
    assert last[1]["key"] == plain[1]["key"]
    first, other = plain[0][0], last[0][0]
    assert first.keys() == other.keys()
    losses = [name for name in first if name.startswith("train/loss")]
    assert [other[name] for name in losses] == pytest.approx([first[name] for name in losses], rel=1e-3, abs=1e-4)
    assert {k: v.shape for k, v in last[2].items()} == {k: v.shape for k, v in plain[2].items()}
