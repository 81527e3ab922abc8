"""Channels last: the same features, tokens and stages, and the same state dict, whichever layout weights have."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.catalog import nets
from mcr_bench.bench.core import device as devices
from mcr_bench.bench.core.seeds import initialise
from mcr_bench.bench.models.build import made
from mcr_bench.bench.models.declared import Encoder
from mcr_bench.bench.models.frames import FrameEncoder
from mcr_bench.bench.models.kinds import encoder_kind_of, encoder_kinds
from mcr_bench.bench.models.layout import LaidOut, channels_last, lay_out
from mcr_bench.bench.problem.facts import Modality

WIDTH = 6
IMAGE, CLIP = (3, 40, 36), (2, 3, 40, 36)
LAST = torch.channels_last
NETS = """
from torch import nn

class Viewing(nn.Module):
    \"\"\"Flattens as many nets do, which one layout alone allows.\"\"\"
    axes = (3,)
    def __init__(self, shape, width):
        super().__init__()
        self.conv = nn.Conv2d(shape[0], 4, 3, stride=2, padding=1)
        self.out = nn.Linear(4 * ((shape[1] + 1) // 2) * ((shape[2] + 1) // 2), width)
    def forward(self, x):
        y = self.conv(x)
        return self.out(y.view(len(y), -1))

class Ready(Viewing):
    channels_last = True
    def forward(self, x):
        return self.out(self.conv(x).relu().flatten(1))
"""


def encoder(kind: str, shape: tuple[int, ...]) -> Any:
    values = {"kind": kind, "width": 4, "depth": 2, "dropout": 0.0}
    module = made(Encoder(encoder_kind_of(kind), values), Modality(shape), WIDTH)
    initialise(module, 0)
    return module.eval()


def values(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(5, *shape, generator=torch.Generator().manual_seed(1))


def last_weights(module: nn.Module) -> set[bool]:
    weights = [p for p in module.parameters() if p.ndim == 4]
    return {p.is_contiguous(memory_format=LAST) for p in weights if p.shape[1] > 1 and p.shape[-1] > 1}


@pytest.mark.parametrize("kind", ["conv2d", "resnet18"])
@pytest.mark.parametrize("shape", [IMAGE, CLIP, (1, 33, 20)])
def test_the_layout_changes_an_encoder_by_rounding_only(kind: str, shape: tuple[int, ...]) -> None:
    plain, last = encoder(kind, shape), encoder(kind, shape)
    assert lay_out({"m": last}, ["m"]) == ["m"]
    assert last_weights(last) == {True}
    assert last_weights(plain) == {False}
    x = values(shape)
    for of_plain, of_last in (
        (plain(x), last(x)),
        (plain.tokens(x)[0], last.tokens(x)[0]),
        *zip(plain.stages(x), last.stages(x), strict=True),
    ):
        torch.testing.assert_close(of_last, of_plain, rtol=1e-4, atol=1e-5)
        assert of_last.stride() == of_plain.stride()  # whoever reads them may `view` them
    slopes = [torch.autograd.grad(e(x).square().sum(), list(e.parameters())) for e in (plain, last)]
    for of_plain, of_last in zip(*slopes, strict=True):
        torch.testing.assert_close(of_last, of_plain, rtol=1e-3, atol=1e-4)


def test_images_reach_the_convolutions_in_their_layout() -> None:
    seen: list[bool] = []
    net = FrameEncoder(nn.Sequential(nn.Conv2d(3, 4, 3)), nn.Identity())
    net.trunk.register_forward_pre_hook(
        lambda _module, inputs: seen.append(inputs[0].is_contiguous(memory_format=LAST))
    )
    for laid_out in (False, True):
        if laid_out:
            net.lay_out()
        net(values(IMAGE))
        net(values(CLIP))
        net.tokens(values(CLIP))
    assert seen == [False] * 3 + [True] * 3


@pytest.mark.parametrize("shape", [(4, 5, 6), (2, 4, 5, 6)])
def test_a_layout_keeps_shape_and_values(shape: tuple[int, ...]) -> None:
    x = values(shape)
    laid = channels_last(x)
    assert torch.equal(laid, x)
    assert laid.shape == x.shape
    assert laid.movedim(-3, -1).is_contiguous()


@pytest.mark.parametrize("ours_last", [False, True])
def test_weights_are_loaded_from_either_layout(ours_last: bool, tmp_path: Path) -> None:
    source, target = encoder("resnet18", IMAGE), encoder("resnet18", IMAGE)
    with torch.no_grad():
        for p in source.parameters():
            p.add_(1.0)
    lay_out({"m": source if not ours_last else target}, ["m"])
    torch.save(source.state_dict(), tmp_path / "w.pt")
    target.load_state_dict(torch.load(tmp_path / "w.pt", weights_only=True))
    assert last_weights(target) == {ours_last}
    assert list(source.state_dict()) == list(target.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))


def test_nets_of_others_say_so_themselves(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    x = values(IMAGE)
    for name, can in (("Viewing", False), ("Ready", True)):
        kind = nets.encoder(f"{tmp_path / 'nets.py'}:{name}")
        assert kind.channels_last is can
        module = kind.make(Modality(IMAGE), WIDTH, {})
        before = module(x)
        lay_out({"m": module}, ["m"] if kind.channels_last else [])
        assert last_weights(module) == {can}
        torch.testing.assert_close(module(x), before, rtol=1e-4, atol=1e-5)


def test_only_encoders_that_can_are_declared_so() -> None:
    declared = {name for name, kind in encoder_kinds().items() if kind.channels_last}
    assert {"conv2d", "resnet18"} <= declared
    assert all(isinstance(encoder(name, IMAGE), LaidOut) for name in declared)
    assert not devices.prefers_channels_last(torch.device("cpu"))
    assert devices.prefers_channels_last(torch.device("cuda:0"))
