"""Fusion heads and the multimodal model: shapes, owners, initial weights, errors."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.core.seeds import initialise
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.build import build_model
from mcr_bench.bench.models.kinds import fusion_kinds
from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel
from mcr_bench.bench.settings.training import EncoderSettings, ModelSettings
from mcr_bench.bench.task import Task
from mcr_bench.datasets.base import Modality
from mcr_bench.tests.support.runs.named_nets import make_fusion

SHAPES = {
    "audio": Modality((7, 3)),
    "video": Modality((2, 1, 9, 8)),
    "text": Modality((5,)),
    "depth": Modality((11, 4), padded=True),
}
NAMES = tuple(SHAPES)
FUSIONS = [name for name in fusion_kinds() if name != "film"]
OF_FEATURES = [name for name in FUSIONS if not fusion_kinds()[name].reads]
SHARING_SIZES = [name for name in FUSIONS if name != "cross-modal"]  # whose last layers grow with the modalities
WITHOUT_SLICES = ["class-token"]
FITTING_FUSIONS = [
    (fusion, m) for fusion, m in itertools.product([*FUSIONS, "film"], (1, 2, 3, 4)) if fusion != "film" or m <= 2
]


def sample(facts: Modality, n: int, seed: int = 0) -> tuple[Tensor, Tensor | None]:
    """Random values (n, ...) and, for padded shapes, lengths from 1 to T."""
    values = torch.randn(n, *facts.shape, generator=torch.Generator().manual_seed(seed))
    return values, 1 + torch.arange(n) % facts.shape[0] if facts.padded else None


def model_of(names: tuple[str, ...], fusion: str = "late-linear") -> MultimodalModel:
    shapes = {m: SHAPES[m] for m in names}
    settings = ModelSettings(fusion=fusion, width=6)
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


# Fusion heads


@pytest.mark.parametrize("names", [("a1", "b22"), ("a1", "b22", "c333")])
@pytest.mark.parametrize("fusion", OF_FEATURES)
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
        ("concat", ["a", "b"], "", "unknown fusion 'concat'.*Known: bottleneck-tokens, .*concat-mlp, .*late-linear"),
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
    slices = set() if m > 1 and fusion in WITHOUT_SLICES else {"fusion_slice"}
    assert roles == {**{m: {"encoder", "own_head"} | slices for m in names}, None: {"fusion_shared"}}
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
    fewer = (NAMES[1:3], ("depth", "text", "video")) if fusion in SHARING_SIZES else ()
    alone = (("depth",),) if fusion_kinds()[fusion].at_least == 1 else ()
    for names in (NAMES[::-1], *fewer, *alone):
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


def test_the_conditioning_modality_is_a_setting_of_the_model() -> None:
    shapes = dict.fromkeys(("audio", "text"), Modality((5,)))
    settings = ModelSettings(fusion="film", conditioning="text", width=6)
    model = build_model(shapes, Task(3), settings, dict.fromkeys(shapes, EncoderSettings()))
    assert {m: layer.out_features for m, layer in model.fusion.slices.items()} == {"audio": 6, "text": 12}


def test_the_score_of_a_regression_is_one_number() -> None:
    model = build_model({"text": SHAPES["text"]}, Task(None), ModelSettings(width=6), {"text": EncoderSettings()})
    assert model(inputs_of(("text",))).logits.shape == (4, 1)


@pytest.mark.parametrize("name", ["type", "train", "keys", "left.hand", ""])
def test_names_that_torch_refuses_are_errors_with_a_remedy(name: str) -> None:
    with pytest.raises(UserError, match=rf"modality cannot be called '{name}'.*Rename it"):
        build_model({name: Modality((5,))}, Task(3), ModelSettings(), {name: EncoderSettings()})
