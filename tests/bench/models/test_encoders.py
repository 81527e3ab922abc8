"""Encoders: shapes, gradients, padding, initial weights, which kind takes which shape."""

import math

import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.core.seeds import initialise
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.attention import heads, positions
from mcr_bench.bench.models.build import encoder_kind
from mcr_bench.bench.models.encoders.resnet18 import resnet18_encoder
from mcr_bench.bench.models.over_time import mean_over_parts, mean_over_time
from mcr_bench.bench.settings.training import EncoderSettings
from mcr_bench.datasets.base import Modality
from mcr_bench.tests.support.runs.named_nets import make_encoder

KINDS = [
    ("mlp", Modality((5,))),
    ("mlp", Modality((7, 3))),
    ("mlp", Modality((2, 9, 8))),
    ("mlp", Modality((3, 2, 9, 8))),
    ("conv1d", Modality((7, 3))),
    ("conv1d", Modality((1, 3), padded=True)),
    ("transformer", Modality((7, 3))),
    ("transformer", Modality((7, 3), padded=True)),
    ("conv2d", Modality((2, 9, 8))),
    ("conv2d", Modality((3, 2, 9, 8), padded=True)),
    ("windows", Modality((17, 3))),
    ("windows", Modality((40, 3), padded=True)),
    ("windows", Modality((16, 9, 8))),
    ("windows", Modality((33, 2, 3, 4), padded=True)),
    ("resnet18", Modality((1, 33, 40))),
    ("resnet18", Modality((3, 3, 33, 40))),
]


def sample(facts: Modality, n: int, seed: int = 0) -> tuple[Tensor, Tensor | None]:
    """Random values (n, ...) and, for padded shapes, lengths from 1 to T."""
    values = torch.randn(n, *facts.shape, generator=torch.Generator().manual_seed(seed))
    return values, 1 + torch.arange(n) % facts.shape[0] if facts.padded else None


def encoder_of(kind: str, facts: Modality, out: int = 6, **settings: float) -> nn.Module:
    encoder = make_encoder(kind, facts, out, EncoderSettings(**{"width": 8, **settings}))  # type: ignore[arg-type]
    initialise(encoder, 0)
    return encoder


@pytest.mark.parametrize(("kind", "facts"), KINDS)
@pytest.mark.parametrize("n", [1, 3])
def test_features_have_the_width_asked_for_and_every_parameter_learns(kind: str, facts: Modality, n: int) -> None:
    encoder = encoder_of(kind, facts).train()
    features = encoder(*sample(facts, n))
    assert features.shape == (n, 6)
    (features * torch.randn(6, generator=torch.Generator().manual_seed(1))).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())
    if kind != "resnet18" or n > 1:  # two values per channel leave batch norm with their signs only
        dead = [name for name, p in encoder.named_parameters() if not p.grad.any()]
        assert not dead


@pytest.mark.parametrize(("kind", "facts"), [*KINDS, ("resnet18", Modality((1, 16, 16)))])
def test_autocast_changes_features_by_rounding_only(kind: str, facts: Modality) -> None:
    encoder = encoder_of(kind, facts).train()
    batch = sample(facts, 1)
    exact = encoder(*batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = encoder(*batch)
    rounded.sum().backward()
    assert float((rounded - exact).detach().norm() / exact.detach().norm()) < 0.1


@pytest.mark.parametrize(("kind", "facts"), KINDS)
def test_samples_of_a_batch_do_not_see_each_other_in_evaluation(kind: str, facts: Modality) -> None:
    encoder = encoder_of(kind, facts).eval()
    values, lengths = sample(facts, 3)
    alone = encoder(values[1:2], None if lengths is None else lengths[1:2])
    torch.testing.assert_close(encoder(values, lengths)[1:2], alone)


@pytest.mark.parametrize(("kind", "facts"), KINDS)
def test_dropout_only_where_asked_and_only_in_training(kind: str, facts: Modality) -> None:
    plain, dropping = encoder_of(kind, facts).train(), encoder_of(kind, facts, dropout=0.5).train()
    values, lengths = sample(facts, 3)
    torch.testing.assert_close(plain(values, lengths), plain(values, lengths), rtol=0, atol=0)
    assert not torch.equal(dropping(values, lengths), dropping(values, lengths))
    torch.testing.assert_close(dropping.eval()(values, lengths), dropping(values, lengths), rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["conv1d", "transformer", "conv2d", "resnet18"])
@pytest.mark.parametrize("train", [True, False])
def test_features_depend_neither_on_the_length_nor_on_the_content_of_padding(kind: str, train: bool) -> None:
    frame = (3,) if kind in ("conv1d", "transformer") else (1, 9, 8)
    encoder = encoder_of(kind, Modality((12, *frame), padded=True)).double().train(train and kind != "resnet18")
    for length in (1, 2, 5, 8):
        own = torch.randn(1, length, *frame, dtype=torch.double, generator=torch.Generator().manual_seed(length))
        expected = encoder(own)
        for steps in range(length, 13):
            padded = torch.full((2, steps, *frame), math.inf, dtype=torch.double)
            padded[0, :length], padded[1] = own[0], 1.0
            if kind in ("conv2d", "resnet18"):
                padded[padded.isinf()] = 7.0
            features = encoder(padded, torch.tensor([length, steps]))
            torch.testing.assert_close(features[:1], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["conv1d", "transformer"])
def test_an_empty_sequence_counts_as_its_first_step(kind: str) -> None:
    encoder = encoder_of(kind, Modality((7, 3), padded=True))
    values, _ = sample(Modality((7, 3)), 2)
    features = encoder(values, torch.tensor([0, 7]))
    torch.testing.assert_close(features, encoder(values, torch.tensor([1, 7])))
    assert features.isfinite().all()


def test_mean_over_time_by_hand() -> None:
    x = torch.tensor([[[1.0], [3.0], [100.0]], [[2.0], [4.0], [6.0]]])
    assert mean_over_time(x, torch.tensor([2, 3])).tolist() == [[2.0], [4.0]]
    torch.testing.assert_close(mean_over_time(x, None), torch.tensor([[104 / 3], [4.0]]))


def test_mean_over_parts_by_hand() -> None:
    """Eight own steps fall two by two; of three the steps 0, 1, 2 fall into quarters 0, 1 and 2, padding into none."""
    x = torch.arange(1.0, 9.0)[None, :, None].expand(2, 8, 1)
    means = mean_over_parts(x, torch.tensor([8, 3]), 4)
    assert means.tolist() == [[1.5, 3.5, 5.5, 7.5], [1.0, 2.0, 3.0, 0.0]]
    torch.testing.assert_close(mean_over_parts(x, None, 4)[1], means[0])
    channels = torch.stack([x[..., 0], -x[..., 0]], -1)
    assert mean_over_parts(channels, None, 4)[0].tolist() == [1.5, -1.5, 3.5, -3.5, 5.5, -5.5, 7.5, -7.5]


@pytest.mark.parametrize("kind", ["conv1d", "transformer"])
def test_sequence_encoders_see_the_order_of_steps(kind: str) -> None:
    encoder = encoder_of(kind, Modality((32, 3))).eval()
    values, _ = sample(Modality((32, 3)), 2)
    assert not torch.allclose(encoder(values), encoder(values.flip(1)), atol=1e-4)


def test_positions_by_hand() -> None:
    table = positions(3, 5)
    rate = 10_000 ** (-2 / 5)
    expected = [math.sin(2), math.cos(2), math.sin(2 * rate), math.cos(2 * rate), math.sin(2 * rate**2)]
    torch.testing.assert_close(table[2], torch.tensor(expected))
    assert table[0].tolist() == [0, 1, 0, 1, 0]


@pytest.mark.parametrize(("width", "expected"), [(64, 8), (40, 5), (8, 1), (7, 1), (16, 2), (30, 3), (512, 8)])
def test_heads_divide_the_width(width: int, expected: int) -> None:
    assert heads(width) == expected


def test_a_clip_is_the_mean_of_its_frames() -> None:
    for kind in ("conv2d", "resnet18"):
        encoder = encoder_of(kind, Modality((3, 2, 9, 8))).eval()
        clip, _ = sample(Modality((3, 2, 9, 8)), 2)
        frames = torch.stack([encoder(clip[:, t]) for t in range(3)])
        torch.testing.assert_close(encoder(clip), frames.mean(0))


# ResNet-18


def test_resnet18_has_the_published_number_of_parameters() -> None:
    """11,689,512 with the 1000-class layer (512 x 1000 + 1000), hence 11,176,512 without; 7 x 7 x 64 per channel."""
    count = {
        (channels, out): sum(p.numel() for p in resnet18_encoder(channels, out, 64, 0.0).parameters())
        for channels, out in ((3, 1000), (3, 512), (1, 512))
    }
    assert count == {(3, 1000): 11_689_512, (3, 512): 11_176_512, (1, 512): 11_176_512 - 2 * 49 * 64}


def test_resnet18_shrinks_images_32_times() -> None:
    encoder = resnet18_encoder(2, 16, 2, 0.0)
    assert encoder.trunk(torch.randn(2, 2, 64, 96)).shape == (2, 16, 2, 3)


def test_resnet18_is_drawn_with_he_normal_fan_out() -> None:
    encoder = resnet18_encoder(1, 512, 64, 0.0)
    initialise(encoder, 0)
    shapes = {n: p for n, p in encoder.named_parameters() if p.ndim == 4}
    assert len(shapes) == 20  # 1 stem, 16 in blocks, 3 short cuts
    for name, p in shapes.items():
        expected = math.sqrt(2 / (p.shape[0] * p.shape[2] * p.shape[3]))
        assert float(p.detach().std()) == pytest.approx(expected, rel=0.06), name


def test_resnet18_takes_one_value_per_channel_in_training() -> None:
    """A batch of one on a 1 x 1 map is normalised by running statistics and leaves them alone there."""
    encoder = resnet18_encoder(1, 6, 2, 0.0).train()
    last = encoder.trunk[-1].residual[1]
    before = last.running_mean.clone()
    assert encoder(torch.randn(1, 1, 16, 16)).isfinite().all()
    torch.testing.assert_close(last.running_mean, before, rtol=0, atol=0)
    encoder(torch.randn(2, 1, 16, 16))
    assert not torch.equal(last.running_mean, before)


@pytest.mark.parametrize(
    ("kind", "facts", "fan_in"), [("conv1d", Modality((7, 3)), 64 * 9), ("conv2d", Modality((3, 9, 8)), 64 * 25)]
)
def test_convolutions_are_drawn_with_he_normal_fan_in(kind: str, facts: Modality, fan_in: int) -> None:
    encoder = encoder_of(kind, facts, width=64)
    weights = [p.detach() for p in encoder.parameters() if p.ndim > 2]
    assert float(weights[1].std()) == pytest.approx(math.sqrt(2 / fan_in), rel=0.03)


# Kinds and shapes


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        (Modality((5,)), "mlp"),
        (Modality((7, 3)), "conv1d"),
        (Modality((7, 3), padded=True), "transformer"),
        (Modality((3, 8, 8)), "conv2d"),
        (Modality((4, 3, 8, 8)), "conv2d"),
    ],
)
def test_auto_follows_the_shape(facts: Modality, kind: str) -> None:
    assert encoder_kind("auto", facts) == kind
    assert encoder_kind("mlp", facts) == "mlp"


@pytest.mark.parametrize(
    ("kind", "facts", "offered", "refused"),
    [
        ("conv1d", Modality((5,)), ["mlp"], ["transformer", "conv2d", "resnet18"]),
        ("conv2d", Modality((7, 3)), ["conv1d", "transformer", "mlp"], ["resnet18"]),
        ("transformer", Modality((3, 8, 8)), ["conv2d", "resnet18", "mlp"], ["conv1d"]),
        ("mlp", Modality((7, 3), padded=True), ["transformer", "conv1d"], ["kind=conv2d", "kind=resnet18"]),
        ("conv1d", Modality((4, 3, 8, 8)), ["conv2d", "resnet18", "mlp"], ["transformer"]),
    ],
)
def test_a_kind_that_does_not_fit_names_those_that_do(
    kind: str, facts: Modality, offered: list[str], refused: list[str]
) -> None:
    with pytest.raises(UserError) as error:
        make_encoder(kind, facts, 6, EncoderSettings())
    message = str(error.value)
    assert f"encoder.kind={kind} " in message
    assert str(facts.shape) in message
    remedy = message.split("Use ")[1]
    assert all(f"encoder.kind={name}" in remedy for name in offered)
    assert not any(name in remedy for name in refused)


@pytest.mark.parametrize("facts", [Modality(()), Modality((1, 2, 3, 4, 5)), Modality((5,), padded=True)])
def test_a_shape_that_no_encoder_takes_is_an_error(facts: Modality) -> None:
    with pytest.raises(UserError, match="no encoder takes"):
        encoder_kind("auto", facts)


# Windows


def windows(shape: tuple[int, ...], padded: bool = False, out: int = 5, **settings: int) -> nn.Module:
    return encoder_of("windows", Modality(shape, padded=padded), out, **settings).double().eval()


@pytest.mark.parametrize(("steps", "window", "stride", "starts"), [(10, 4, 0, [0, 4, 8]), (9, 3, 2, [0, 2, 4, 6])])
def test_windows_by_hand(steps: int, window: int, stride: int, starts: list[int]) -> None:
    """Every window flattened, one layer, the means of two halves of the windows, one layer; zeros after the end."""
    encoder = windows((steps, 3), window=window, stride=stride, bins=2, depth=1)
    values = sample(Modality((steps, 3)), 2)[0].double()
    longer = torch.cat([values, torch.zeros(2, window, 3)], 1)
    (first,) = [
        layer for layer in encoder.modules() if isinstance(layer, nn.Linear) and layer.in_features == 3 * window
    ]
    hidden = torch.stack([first(longer[:, at : at + window].flatten(1)).relu() for at in starts], 1)
    half = [[i for i in range(len(starts)) if 2 * i // len(starts) == part] for part in (0, 1)]
    parts = torch.cat([hidden[:, rows].mean(1) for rows in half], 1)
    torch.testing.assert_close(encoder(values), encoder.project(parts))


def test_windows_of_images_see_the_means_over_areas() -> None:
    clip = sample(Modality((6, 2, 8, 12)), 3)[0].double()
    encoder = windows((6, 2, 8, 12), window=3, pixels=4, depth=2)
    areas = clip.unflatten(3, (4, 2)).unflatten(5, (4, 3)).mean((4, 6))  # 2 x 3 pixels each
    plain = windows((6, 32), window=3, depth=2)
    torch.testing.assert_close(encoder(clip), plain(areas.flatten(2)))
    frames = windows((6, 8, 12), window=3, pixels=4)  # images without channels, one per step
    torch.testing.assert_close(frames(clip[:, :, 0]), windows((6, 16), window=3)(areas[:, :, 0].flatten(2)))


@pytest.mark.parametrize("shape", [(12, 3), (12, 2, 5, 4)])
@pytest.mark.parametrize(("window", "stride"), [(4, 0), (5, 2), (3, 4)])
def test_windows_do_not_depend_on_padding(shape: tuple[int, ...], window: int, stride: int) -> None:
    encoder = windows(shape, padded=True, window=window, stride=stride, pixels=0 if len(shape) == 2 else 3)
    for length in (1, 4, 7, 12):
        own = torch.randn(1, length, *shape[1:], dtype=torch.double, generator=torch.Generator().manual_seed(length))
        padded = torch.full((2, 12, *shape[1:]), 7.0, dtype=torch.double)
        padded[0, :length] = own[0]
        features = encoder(padded, torch.tensor([length, 12]))
        torch.testing.assert_close(features[:1], encoder(own), rtol=1e-10, atol=1e-12)


def test_windows_tokens_sum_to_the_features() -> None:
    encoder = windows((12, 3), padded=True, window=3)
    values, lengths = sample(Modality((12, 3), padded=True), 5)
    tokens, mask = encoder.tokens(values.double(), lengths)
    torch.testing.assert_close(tokens.sum(1), encoder(values.double(), lengths))
    assert mask.tolist() == [[1, 0, 0, 0]] * 3 + [[1, 0, 1, 0]] * 2
    assert [x.shape for x in encoder.stages(values.double(), lengths)] == [(5, 4, 8)] * 2


def test_settings_of_windows_are_refused_elsewhere() -> None:
    with pytest.raises(UserError, match=r"encoder\.window, stride, pixels, bins are for windows, not for mlp"):
        encoder_of("mlp", Modality((7, 3)), window=4)
