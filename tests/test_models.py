"""Encoders, fusion heads and the multimodal model: shapes, owners, initial weights, padding, errors."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.build import build_model, encoder_kind, make_encoder
from mcr_bench.bench.models.encoders import mean_over_time
from mcr_bench.bench.models.fusion import FUSIONS, make_fusion
from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel
from mcr_bench.bench.models.resnet import resnet18_encoder
from mcr_bench.bench.models.transformer import heads, positions
from mcr_bench.bench.seeds import initialise
from mcr_bench.bench.task import Task
from mcr_bench.bench.training_settings import EncoderSettings, ModelSettings
from mcr_bench.datasets.base import Modality

SHAPES = {
    "audio": Modality((7, 3)),
    "video": Modality((2, 1, 9, 8)),
    "text": Modality((5,)),
    "depth": Modality((11, 4), padded=True),
}
NAMES = tuple(SHAPES)
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
    ("resnet18", Modality((1, 33, 40))),
    ("resnet18", Modality((3, 3, 33, 40))),
]
FITTING_FUSIONS = [
    (fusion, m) for fusion, m in itertools.product([*FUSIONS, "film"], (1, 2, 3, 4)) if fusion != "film" or m <= 2
]


def sample(facts: Modality, n: int, seed: int = 0) -> tuple[Tensor, Tensor | None]:
    """Random values (n, ...) and, for padded shapes, lengths from 1 to T."""
    values = torch.randn(n, *facts.shape, generator=torch.Generator().manual_seed(seed))
    return values, 1 + torch.arange(n) % facts.shape[0] if facts.padded else None


def encoder_of(kind: str, facts: Modality, out: int = 6, **settings: float) -> nn.Module:
    encoder = make_encoder(kind, facts, out, EncoderSettings(**{"width": 8, **settings}))  # type: ignore[arg-type]
    initialise(encoder, 0)
    return encoder


def model_of(names: tuple[str, ...], fusion: str = "late-linear") -> MultimodalModel:
    shapes = {m: SHAPES[m] for m in names}
    settings = ModelSettings(fusion=fusion, width=6)  # type: ignore[arg-type]
    model = build_model(shapes, Task(3), settings, dict.fromkeys(names, EncoderSettings(width=8)))
    initialise(model, 0)
    return model


def inputs_of(names: tuple[str, ...], n: int = 4) -> Inputs:
    drawn = {m: sample(SHAPES[m], n) for m in names}
    return Inputs({m: v for m, (v, _) in drawn.items()}, {m: k for m, (_, k) in drawn.items() if k is not None})


def head_of(fusion: str, names: list[str], conditioning: str = "") -> tuple[nn.Module, dict[str, Tensor]]:
    """A drawn head in double precision and features (5, 6) for it."""
    head = make_fusion(fusion, names, 6, 3, conditioning)
    initialise(head, 0)
    draws = {m: torch.Generator().manual_seed(len(m)) for m in names}
    return head.double(), {m: torch.randn(5, 6, generator=draws[m], dtype=torch.double) for m in names}


# Encoders


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
def test_an_empty_sequence_gives_finite_features(kind: str) -> None:
    encoder = encoder_of(kind, Modality((7, 3), padded=True))
    assert encoder(torch.zeros(2, 7, 3), torch.tensor([0, 7])).isfinite().all()


def test_mean_over_time_by_hand() -> None:
    x = torch.tensor([[[1.0], [3.0], [100.0]], [[2.0], [4.0], [6.0]]])
    assert mean_over_time(x, torch.tensor([2, 3])).tolist() == [[2.0], [4.0]]
    torch.testing.assert_close(mean_over_time(x, None), torch.tensor([[104 / 3], [4.0]]))


def test_the_transformer_sees_the_order_of_steps() -> None:
    encoder = encoder_of("transformer", Modality((7, 3))).eval()
    values, _ = sample(Modality((7, 3)), 2)
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


# Fusion heads


@pytest.mark.parametrize("names", [("a1", "b22"), ("a1", "b22", "c333")])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_heads_do_not_depend_on_the_order_of_modalities(fusion: str, names: tuple[str, ...]) -> None:
    head, features = head_of(fusion, list(names))
    turned, _ = head_of(fusion, list(names[::-1]))
    torch.testing.assert_close(turned(features).logits, head(features).logits)


def test_film_does_not_depend_on_the_order_where_the_conditioning_modality_is_named() -> None:
    head, features = head_of("film", ["a1", "b22"], conditioning="b22")
    turned, _ = head_of("film", ["b22", "a1"])
    torch.testing.assert_close(turned(features).logits, head(features).logits, rtol=0, atol=0)


def test_concat_mlp_is_a_two_layer_network_over_the_concatenation() -> None:
    head, f = head_of("concat-mlp", ["a1", "b22"])
    weight = torch.cat([head.slices["a1"].weight, head.slices["b22"].weight], 1)
    hidden = torch.relu(torch.cat([f["a1"], f["b22"]], 1) @ weight.T + head.hidden_bias)
    torch.testing.assert_close(head(f).logits, hidden @ head.output.weight.T + head.output.bias)


def test_gates_sum_to_one() -> None:
    """Equal values in every modality leave the gates without effect: z = W v + b, computed here by hand."""
    head, f = head_of("gated", ["a1", "b22", "c333"])
    for part in head.slices.values():
        nn.init.zeros_(part.value.weight)
        nn.init.constant_(part.value.bias, 2.0)
    expected = head.output.weight.sum(1) * 2.0 + head.output.bias
    torch.testing.assert_close(head(f).logits, expected.expand(5, 3))


def test_a_strong_gate_lets_one_modality_through() -> None:
    head, f = head_of("gated", ["a1", "b22"])
    nn.init.constant_(head.slices["b22"].gate.bias, 1e4)
    expected = head.output(head.slices["b22"].value(f["b22"]))
    torch.testing.assert_close(head(f).logits, expected)


def test_film_scales_and_shifts_the_conditioned_modality() -> None:
    head, f = head_of("film", ["a1", "b22"], conditioning="b22")
    weight, bias = head.slices["b22"].weight, head.slices["b22"].bias
    gamma, beta = f["b22"] @ weight[:6].T + bias[:6], f["b22"] @ weight[6:].T + bias[6:]
    hidden = gamma * head.slices["a1"](f["a1"]) + beta
    torch.testing.assert_close(head(f).logits, head.output(hidden))


def test_film_conditions_on_the_first_modality_by_default() -> None:
    head, _ = head_of("film", ["a1", "b22"])
    assert head.slices["a1"].out_features == 12


def test_film_with_one_modality_is_late_linear() -> None:
    head, f = head_of("film", ["a1"], conditioning="b22")
    plain, _ = head_of("late-linear", ["a1"])
    torch.testing.assert_close(head(f).logits, plain(f).logits, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("fusion", "names", "conditioning", "message"),
    [
        ("film", ["a", "b", "c"], "", "film joins exactly 2 modalities, got 3"),
        ("film", ["audio", "video"], "vidio", "unknown modality in model.conditioning 'vidio'.* Did you mean video"),
        ("concat", ["a", "b"], "", "unknown fusion 'concat'.*Known: concat-mlp, film, gated, late-linear"),
    ],
)
def test_impossible_heads_are_errors(fusion: str, names: list[str], conditioning: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_fusion(fusion, names, 6, 3, conditioning)


# The model


@pytest.mark.parametrize(("fusion", "m"), FITTING_FUSIONS)
@pytest.mark.parametrize("n", [1, 4])
def test_one_forward_pass(fusion: str, m: int, n: int) -> None:
    names = NAMES[:m]
    outputs = model_of(names, fusion).train()(inputs_of(names, n))
    assert outputs.logits.shape == (n, 3)
    assert {k: f.shape for k, f in outputs.features.items()} == dict.fromkeys(names, (n, 6))
    assert {k: z.shape for k, z in outputs.own_logits.items()} == dict.fromkeys(names, (n, 3))


@pytest.mark.parametrize(("fusion", "m"), FITTING_FUSIONS)
def test_every_parameter_has_one_owner_and_learns(fusion: str, m: int) -> None:
    names = NAMES[:m]
    model = model_of(names, fusion)
    owned = list(model.owned())
    assert [id(p) for _, p, _ in owned] == [id(p) for p in model.parameters()]
    roles = {m: {owner.role for _, _, owner in owned if owner.modality == m} for m in (*names, None)}
    assert roles == {**{m: {"encoder", "own_head", "fusion_slice"} for m in names}, None: {"fusion_shared"}}
    outputs = model(inputs_of(names))
    sum([outputs.logits.square().sum(), *(z.square().sum() for z in outputs.own_logits.values())]).backward()
    unmoved = {name for name, p, _ in owned if p.grad is None}
    assert not unmoved


def test_slices_are_found_by_modality_and_role() -> None:
    model = model_of(("audio", "text"), "gated")
    slices = model.parameters_of("text", "fusion_slice")
    assert {id(p) for p in slices} == {id(p) for p in model.fusion.slices["text"].parameters()}
    shared = model.parameters_of(None, "fusion_shared")
    assert [id(p) for p in shared] == [id(p) for p in model.fusion.output.parameters()]


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_the_split_of_an_additive_head_sums_to_the_logits(m: int) -> None:
    outputs = model_of(NAMES[:m])(inputs_of(NAMES[:m]))
    assert outputs.split_logits is not None
    torch.testing.assert_close(torch.stack(list(outputs.split_logits.values())).sum(0), outputs.logits)


@pytest.mark.parametrize("fusion", ["concat-mlp", "gated", "film"])
def test_other_heads_have_no_split_and_no_bias(fusion: str) -> None:
    model = model_of(NAMES[:2], fusion)
    outputs = model(inputs_of(NAMES[:2]))
    assert not model.fusion.additive
    assert (outputs.branch_logits, outputs.split_logits, model.fusion.bias) == (None, None, None)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_initial_weights_depend_neither_on_order_nor_on_the_other_modalities(fusion: str) -> None:
    full = model_of(NAMES, fusion).state_dict()
    for names in (NAMES[::-1], NAMES[1:3], ("depth",)):
        part = model_of(names, fusion).state_dict()
        assert set(part) <= set(full)
        assert all(torch.equal(full[key], weight) for key, weight in part.items())


def test_initial_weights_differ_between_seeds_and_between_equal_encoders() -> None:
    shapes = {m: Modality((5,)) for m in NAMES[:2]}
    model = build_model(shapes, Task(3), ModelSettings(), dict.fromkeys(shapes, EncoderSettings()))
    initialise(model, 0)
    first = {k: v.clone() for k, v in model.state_dict().items()}
    initialise(model, 1)
    assert not any(torch.equal(first[k], v) for k, v in model.state_dict().items())
    audio, video = (first[f"encoders.{m}.layers.2.weight"] for m in shapes)
    assert not torch.equal(audio, video)


def test_the_score_of_a_regression_is_one_number() -> None:
    model = build_model({"text": SHAPES["text"]}, Task(None), ModelSettings(width=6), {"text": EncoderSettings()})
    assert model(inputs_of(("text",))).logits.shape == (4, 1)


@pytest.mark.parametrize("name", ["type", "train", "keys", "left.hand", ""])
def test_names_that_torch_refuses_are_errors_with_a_remedy(name: str) -> None:
    with pytest.raises(UserError, match=rf"modality cannot be called '{name}'.*rename it"):
        build_model({name: Modality((5,))}, Task(3), ModelSettings(), {name: EncoderSettings()})
