"""Fusion heads that do not come with the harness: what is refused before any training, branches, biases and owners."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.core.seeds import initialise
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.build import build_model, encoder_of
from mcr_bench.bench.models.declared import Encoder, Head
from mcr_bench.bench.models.kinds import encoder_kind_of
from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel
from mcr_bench.bench.models.own.kinds import head_kind
from mcr_bench.bench.models.tried import Tried, tried
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.settings.training import EncoderSettings
from mcr_bench.bench.task import Task

WIDTH = 6
SHAPES = {"voice": Modality((5,)), "face": Modality((8, 4)), "pose": Modality((7, 3), padded=True)}
ENCODERS = {m: encoder_of(EncoderSettings(width=8), shape) for m, shape in SHAPES.items()}
Features = dict[str, Tensor]


class Additive(nn.Module):
    """A sum of linear layers."""

    additive = True

    def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
        super().__init__()
        self.slices = nn.ModuleDict({m: nn.Linear(width, outputs) for m in modalities})

    def branches(self, features: Features) -> Features:
        return {m: layer(features[m]) for m, layer in self.slices.items()}

    def forward(self, features: Features, tokens: object = None) -> Tensor:
        return torch.stack(list(self.branches(features).values())).sum(0)


class Apart(Additive):
    """Its bias is in no branch."""

    def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
        super().__init__(modalities, width, outputs)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, features: Features, tokens: object = None) -> Tensor:
        return super().forward(features) + self.bias


class Shared(Apart):
    """Its bias is in every branch."""

    def branches(self, features: Features) -> Features:
        return {m: x + self.bias / len(features) for m, x in super().branches(features).items()}

    def forward(self, features: Features, tokens: object = None) -> Tensor:
        return torch.stack(list(self.branches(features).values())).sum(0)


class Plain(nn.Module):
    """Not additive."""

    def __init__(self, modalities: list[str], width: int, outputs: int, *, scale: float = 1.0) -> None:
        super().__init__()
        self.out, self.scale = nn.Linear(width * len(modalities), outputs), scale

    def forward(self, features: Features) -> Tensor:
        return self.scale * self.out(torch.cat(list(features.values()), 1))


def head_of(cls: type[nn.Module], **values: float) -> Head:
    return Head(head_kind(cls, f"./head.py:{cls.__name__}", lambda _: "digest", "./head.py"), WIDTH, values)


def attempt(cls: type[nn.Module], *modalities: str) -> Tried:
    names = modalities or ("voice", "face")
    return tried({m: SHAPES[m] for m in names}, 3, head_of(cls), ENCODERS)


def model_of(cls: type[nn.Module], *modalities: str) -> MultimodalModel:
    model = build_model({m: SHAPES[m] for m in modalities}, Task(3), head_of(cls), ENCODERS)
    initialise(model, 0)
    return model


def inputs_of(*modalities: str, n: int = 4) -> Inputs:
    draw = torch.Generator().manual_seed(0)
    values = {m: torch.randn(n, *SHAPES[m].shape, generator=draw) for m in modalities}
    return Inputs(values, {"pose": torch.tensor([1, 7, 3, 2])[:n]} if "pose" in modalities else {})


@pytest.mark.parametrize("names", [("voice",), ("voice", "face"), ("voice", "face", "pose")])
@pytest.mark.parametrize("cls", [Additive, Apart, Shared])
def test_the_split_of_an_additive_head_sums_to_its_logits(cls: type[nn.Module], names: tuple[str, ...]) -> None:
    assert attempt(cls, *names) == (True, frozenset())
    model = model_of(cls, *names)
    for name, p in model.fusion.named_parameters():
        if name.endswith("head.bias"):
            nn.init.constant_(p, 2.0)
    outputs = model(inputs_of(*names))
    assert outputs.branch_logits is not None
    assert outputs.split_logits is not None
    torch.testing.assert_close(torch.stack(list(outputs.split_logits.values())).sum(0), outputs.logits)
    assert (model.fusion.bias is None) is (cls is not Apart)
    torch.testing.assert_close(outputs.logits, model.fusion.get_submodule("head")(outputs.features))


def test_slices_belong_to_their_modality_and_all_else_is_shared() -> None:
    model = model_of(Apart, "voice", "face")
    owners = {name: owner for name, _, owner in model.owned() if name.startswith("fusion.")}
    assert {name: (owner.modality, owner.role) for name, owner in owners.items()} == {
        "fusion.head.bias": (None, "fusion_shared"),
        **{
            f"fusion.head.slices.{m}.{part}": (m, "fusion_slice")
            for m in ("voice", "face")
            for part in ("weight", "bias")
        },
    }
    shared = {o.role for n, _, o in model_of(Plain, "voice", "face").owned() if n.startswith("fusion")}
    assert shared == {"fusion_shared"}


def shapeless(self: Additive, features: Features) -> Features:
    return {m: x[:, :2] for m, x in Additive.branches(self, features).items()}


def mixed(self: Additive, features: Features) -> Features:
    branches = Additive.branches(self, features)
    gate = torch.stack(list(features.values())).mean()
    return {m: x * gate for m, x in branches.items()}


def forgotten(self: Additive, features: Features) -> Features:
    return dict(list(Additive.branches(self, features).items())[1:])


def scaled(self: Additive, features: Features) -> Tensor:
    return 2 * Additive.forward(self, features)


ADDITIVE: dict[str, tuple[dict[str, object], str]] = {
    "another sum": ({"forward": scaled}, "the sum of its branches is not its logits"),
    "another shape": ({"branches": shapeless}, "branches, at 'voice', gave a tensor"),
    "a branch too few": ({"branches": forgotten}, r"branches gave a dict of \['face'\]; needed: .* voice, face"),
    "branches of everything": ({"branches": mixed}, "branch of 'voice' changes with the features of other modalities"),
    "no dict": ({"branches": lambda _, features: list(features.values())}, "branches gave a list; needed: a dict"),
    "an error": ({"branches": lambda _, features: features["none"]}, "branches failed: KeyError: 'none'"),
}


@pytest.mark.parametrize("case", ADDITIVE)
@pytest.mark.parametrize("names", [("voice", "face"), ("voice", "face", "pose")])
def test_branches_that_are_no_split_of_the_logits_are_told(case: str, names: tuple[str, ...]) -> None:
    more, says = ADDITIVE[case]
    says = says.replace("voice, face", ", ".join(names)).replace(r"\['face'\]", r"\['face'.*\]")
    with pytest.raises(UserError, match=says) as error:
        attempt(type("Head", (Additive,), more), *names)
    assert str(error.value).startswith("model.fusion=./head.py:Head: ")


def test_a_sum_that_holds_at_the_first_weights_alone_is_no_sum() -> None:
    class Zero(Apart):
        def forward(self, features: Features, tokens: object = None) -> Tensor:
            return super().forward(features) + 3 * self.bias

    with pytest.raises(UserError, match="the sum of its branches and `bias` is not its logits"):
        attempt(Zero)


def short(self: nn.Module, modalities: list[str], width: int) -> None: ...


WRONG: dict[str, tuple[dict[str, object], str]] = {
    "no branches": ({"additive": True}, "is `additive`, but has no `branches`"),
    "a constructor too short": ({"__init__": short}, r"does not take \(modalities, width, outputs\)"),
    "an additive that is no truth value": ({"additive": "yes"}, "additive = 'yes': not allowed"),
    "another shape": ({"forward": lambda _, features: features["voice"]}, r"forward gave a tensor \(3, 6\).*\(3, 3\)"),
    "no tensor": ({"forward": lambda _, features: features}, "forward gave a dict"),
    "half precision": ({"forward": lambda self, f: Plain.forward(self, f).half()}, "float16; needed: float32"),
    "an error": ({"forward": lambda _, features: features["x"]}, "forward failed on features .*KeyError: 'x'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_heads_that_give_no_logits_are_told(case: str) -> None:
    more, says = WRONG[case]
    with pytest.raises(UserError, match=says):
        attempt(type("Head", (Plain,), more))


def test_slices_of_no_modality_are_told() -> None:
    class Odd(Plain):
        def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
            super().__init__(modalities, width, outputs)
            self.slices = nn.ModuleDict({"joined": nn.Linear(width, outputs)})

    with pytest.raises(UserError, match="`slices` has 'joined', which is not a modality; modalities here: voice, face"):
        attempt(Odd)


def test_settings_reach_the_head() -> None:
    kind = head_of(Plain).kind
    assert list(kind.settings) == ["scale"]
    models = [
        build_model({"voice": SHAPES["voice"]}, Task(3), Head(kind, WIDTH, {"scale": scale}), ENCODERS)
        for scale in (1.0, 3.0)
    ]
    logits = []
    for model in models:
        initialise(model, 0)
        logits.append(model(inputs_of("voice")).logits)
    torch.testing.assert_close(3 * logits[0], logits[1])


def test_a_head_that_joins_two_and_more_lets_late_linear_stand_for_it_alone() -> None:
    more = type("Head", (Plain,), {"at_least": 2, "at_most": 2})
    assert attempt(more, "voice").additive
    with pytest.raises(UserError, match=r"model.fusion=./head.py:Head joins exactly 2 modalities, got 3"):
        attempt(more, "voice", "face", "pose")


# Tokens and stages


def pooled(self: nn.Module, features: Features, tokens: dict[str, tuple[Tensor, Tensor]]) -> Tensor:
    means = [(t * mask[..., None]).sum(1) for t, mask in tokens.values()]
    assert len(means) == len(features)
    return self.out(torch.cat(means, 1))  # type: ignore[no-any-return,operator]


def staged(self: nn.Module, features: Features, stages: dict[str, list[Tensor]]) -> Tensor:
    return Plain.forward(self, {m: f + stages[m][-1].mean() for m, f in features.items()})  # type: ignore[arg-type]


def tolerant(self: nn.Module, features: Features, tokens: dict[str, tuple[Tensor, Tensor]]) -> Tensor:
    more = {m: tokens[m][0].mean() for m in features if m in tokens}
    return Plain.forward(self, {m: f + more.get(m, 0) for m, f in features.items()})  # type: ignore[arg-type]


def of(forward: Callable[..., Tensor]) -> type[nn.Module]:
    return type("Head", (Plain,), {"forward": forward})


def test_what_a_head_asks_of_the_encoders_is_known_before_any_training() -> None:
    assert attempt(Plain).asks == frozenset()
    assert attempt(of(pooled), "face", "pose").asks == {"tokens"}
    assert attempt(of(staged), "face", "pose").asks == {"stages"}
    assert attempt(of(tolerant), "voice", "pose").asks == {"tokens"}


@pytest.mark.parametrize(("forward", "part"), [(pooled, "tokens"), (staged, "stages")])
def test_a_head_is_tried_on_parts_of_words(forward: Callable[..., Tensor], part: str) -> None:
    words = {"words": Modality((5, 1), padded=True, vocabulary=9)}
    encoders = {"words": encoder_of(EncoderSettings(width=8), words["words"])}
    assert tried(words, 3, head_of(of(forward)), encoders).asks == {part}


@pytest.mark.parametrize("part", ["tokens", "stages"])
def test_parts_that_an_encoder_lacks_are_refused_with_the_encoders_that_have_them(part: str) -> None:
    head = of(pooled if part == "tokens" else staged)
    bare = replace(encoder_kind_of("mlp"), tokens=False, stages=False)
    without = {m: Encoder(bare, ENCODERS[m].values) for m in ("voice", "face")}
    with pytest.raises(UserError, match=f"it reads the {part} of 'voice', whose encoder mlp has none") as error:
        tried({m: SHAPES[m] for m in without}, 3, head_of(head), without)
    assert f"a net of your own with a method `{part}`" in str(error.value)
    with pytest.raises(UserError, match=r"conv1d.*transformer"):
        tried({"face": SHAPES["face"]}, 3, head_of(head), without)


def test_tokens_reach_the_head_and_what_comes_from_no_encoder_has_none() -> None:
    model = model_of(of(pooled), "face", "pose").eval()
    inputs = inputs_of("face", "pose")
    outputs = model(inputs)
    sums = []
    for m in ("face", "pose"):
        tokens, mask = model.encoders[m].tokens(inputs.values[m], inputs.lengths.get(m))  # type: ignore[operator]
        sums.append((tokens * mask[..., None]).sum(1))
    torch.testing.assert_close(outputs.logits, model.fusion.get_submodule("head.out")(torch.cat(sums, 1)))
    with pytest.raises(UserError, match="features of its own making"):
        model.fuse(dict(outputs.features))


def test_tokens_are_made_as_the_encoders_stood_when_they_encoded() -> None:
    """In evaluation mode although the model trains again when the head asks."""
    encoders = {m: encoder_of(EncoderSettings(width=8, dropout=0.5), SHAPES[m]) for m in ("face", "pose")}
    model = build_model({m: SHAPES[m] for m in encoders}, Task(3), head_of(of(pooled)), encoders)
    initialise(model, 0)
    inputs = inputs_of("face", "pose")
    expected = model.eval()(inputs).logits
    encoded = model.encode(inputs)
    model.train()
    torch.testing.assert_close(model.fuse(encoded).logits, expected, rtol=0, atol=0)
    assert all(module.training for module in model.modules())
    assert not torch.equal(model.fuse(model.encode(inputs)).logits, expected)


def test_passes_for_tokens_are_told_to_those_who_count_passes() -> None:
    model, seen = model_of(of(pooled), "face", "pose"), list[int]()
    model.watchers.append(lambda made: seen.append(len(made)))
    model(inputs_of("face", "pose"))
    assert seen == [4, 4]
