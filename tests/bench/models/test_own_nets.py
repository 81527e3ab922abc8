"""Encoders that do not come with the harness: settings, what is refused before any training, weights."""

import random
from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.core.seeds import initialise
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.build import head_of
from mcr_bench.bench.models.declared import Encoder, EncoderKind, Values
from mcr_bench.bench.models.own.kinds import net_kind
from mcr_bench.bench.models.stages import stage_sizes
from mcr_bench.bench.models.tried import tried
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.settings.declaration import setting
from mcr_bench.bench.settings.training import ModelSettings

SHAPE = Modality((5,))
SEQUENCE = Modality((6, 4), padded=True)


class Plain(nn.Module):
    """One linear layer."""

    def __init__(self, shape: tuple[int, ...], width: int, depth: int = 2, rate: float = 0) -> None:
        super().__init__()
        self.layer = nn.Linear(int(np.prod(shape)), width)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))


def kind_of(cls: type[nn.Module]) -> EncoderKind:
    return net_kind(cls, f"./net.py:{cls.__name__}", lambda _: "digest", "./net.py")


def attempt(cls: type[nn.Module], modality: Modality = SHAPE, **values: object) -> None:
    """Try a net as planning does, beside nothing else."""
    kind = kind_of(cls)
    settings: Values = {k: d.parse(values.get(k, d.default), "") for k, d in kind.settings.items()}
    tried({"voice": modality}, 3, head_of(ModelSettings(width=7)), {"voice": Encoder(kind, settings)})


# Settings


class Typed(nn.Module):
    def __init__(
        self,
        size: tuple[int, ...],
        d: int,
        layers: int = 2,
        rate: float = 0,
        *,
        norm: Literal["batch", "layer"] = "layer",
        bias=True,  # type: ignore[no-untyped-def]
        told: int = setting(3, "a number that is told", at_least=1, origin="a paper"),
    ) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x


class Handing(Typed):
    def __init__(self, shape: tuple[int, ...], width: int, mine: str = "a", **settings: object) -> None:
        super().__init__(shape, width, **settings)  # type: ignore[arg-type]


def test_settings_are_the_keyword_arguments_typed_by_annotation_or_default() -> None:
    settings = kind_of(Typed).settings
    assert {k: d.kind for k, d in settings.items() if k != "norm"} == {
        **{"layers": int, "rate": float, "bias": bool, "told": int}
    }
    assert settings["norm"].allowed == "batch | layer"
    assert (settings["told"].default, settings["told"].doc, settings["told"].origin) == (
        3,
        "a number that is told",
        "a paper",
    )
    assert settings["rate"].parse("0.5", "") == 0.5
    assert settings["layers"].parse("4", "") == 4
    for name, value in (("told", "0"), ("norm", "group"), ("bias", "perhaps"), ("layers", "1.5")):
        with pytest.raises(UserError, match=f"{name}={value}: not allowed"):
            settings[name].parse(value, "")


def test_settings_that_are_handed_on_are_those_of_the_base_too() -> None:
    assert list(kind_of(Handing).settings) == ["mine", "layers", "rate", "norm", "bias", "told"]


def no_shape(self: nn.Module, width: int = 3) -> None: ...
def one_only(self: nn.Module, shape: object) -> None: ...
def needs_more(self: nn.Module, shape: object, width: int, depth: int) -> None: ...
def list_setting(self: nn.Module, shape: object, width: int, sizes: list[int] = [1]) -> None: ...  # noqa: B006
def none_setting(self: nn.Module, shape: object, width: int, norm=None) -> None: ...  # type: ignore[no-untyped-def]
def reserved(self: nn.Module, shape: object, width: int, kind: int = 1) -> None: ...
def odd_default(self: nn.Module, shape: object, width: int, depth: int = 2.5) -> None: ...  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("constructor", "says"),
    [
        (no_shape, r"does not take \(shape, width\)"),
        (one_only, r"does not take \(shape, width\)"),
        (needs_more, "needs 'depth', which has no default"),
        (list_setting, "setting 'sizes' is of the type list.*allowed: bool, int, float, str"),
        (none_setting, "setting 'norm' is of the type NoneType"),
        (reserved, "setting 'kind' has a name of the harness"),
        (odd_default, "depth=2.5: not allowed"),
    ],
)
def test_constructors_that_cannot_be_called_are_told(constructor: Callable[..., None], says: str) -> None:
    with pytest.raises(UserError, match=says):
        kind_of(type("Net", (Plain,), {"__init__": constructor}))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"forward": lambda _: 0}, "takes no input"),
        ({"forward": 3}, "has no method `forward`"),
        ({"axes": "all"}, "axes = 'all': not allowed"),
        ({"axes": ()}, r"axes = \(\): not allowed"),
        ({"padded": "yes"}, "padded = 'yes': not allowed"),
    ],
)
def test_classes_that_declare_something_odd_are_told(more: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        kind_of(type("Net", (Plain,), more))


def test_a_class_without_a_forward_is_told() -> None:
    with pytest.raises(UserError, match="has no method `forward`; write def forward"):
        kind_of(type("Net", (nn.Module,), {"__init__": lambda _, __, ___: None}))


# What is tried before any training


def squeezing(self: Plain, x: Tensor) -> Tensor:
    return self.layer(x).squeeze(0)


WRONG: dict[str, tuple[Callable[..., object], str]] = {
    "another width": (
        lambda self, x: self.layer(x)[:, :3],
        r"forward gave a tensor \(3, 3\).*needed: a tensor \(3, 7\)",
    ),
    "no batch": (lambda self, x: self.layer(x).sum(0), r"forward gave a tensor \(7,\)"),
    "one sample squeezed": (squeezing, r"forward gave a tensor \(7,\).*needed: a tensor \(1, 7\)"),
    "doubles": (lambda self, x: self.layer(x).double(), "float64; needed: float32"),
    "whole numbers": (lambda self, x: self.layer(x).long(), "int64; needed: float32"),
    "nothing": (lambda _, __: None, "forward gave None .is a `return` missing"),
    "a pair": (lambda _, x: (x, x), "forward gave a tuple"),
    "an error": (lambda _, x: x.no_such_thing, "forward failed on samples .*no attribute 'no_such_thing'"),
    "one argument more": (lambda _, x, __: x, "missing 1 required positional argument: '__'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_features_that_are_none_are_told_with_the_file_and_the_class(case: str) -> None:
    forward, says = WRONG[case]
    with pytest.raises(UserError, match=says) as error:
        attempt(type("Net", (Plain,), {"forward": forward}))
    assert str(error.value).startswith("encoder.voice.kind=./net.py:Net: ")


def test_a_constructor_that_fails_is_told_with_its_call() -> None:
    class Net(Plain):
        def __init__(self, shape: tuple[int, ...], width: int, depth: int = 2) -> None:
            raise RuntimeError("no such weights")

    with pytest.raises(UserError, match=r"cannot be made as Net\(\(5,\), 7, depth=4\): RuntimeError: no such weights"):
        attempt(Net, depth=4)


def test_lazy_parameters_are_told() -> None:
    class Net(Plain):
        def __init__(self, shape: tuple[int, ...], width: int) -> None:
            super().__init__(shape, width)
            self.layer = nn.LazyLinear(width)  # type: ignore[assignment]

    with pytest.raises(UserError, match=r"parameter 'layer\.weight' is lazy"):
        attempt(Net)


def test_state_that_is_no_tensor_is_told() -> None:
    """Such as the scales of quantised layers: the weights of the best epoch, and checkpoints, hold tensors alone."""
    layer = type("Layer", (nn.Linear,), {"get_extra_state": lambda _: {"scale": 2}, "set_extra_state": lambda *_: None})

    class Net(Plain):
        def __init__(self, shape: tuple[int, ...], width: int) -> None:
            super().__init__(shape, width)
            self.layer = layer(shape[0], width)

    with pytest.raises(UserError, match=r"its state has 'layer\._extra_state' of type dict"):
        attempt(Net)


TOKENS: dict[str, tuple[Callable[..., object], str]] = {
    "no mask": (
        lambda _, x: x[:, :, None].expand(-1, -1, 7),
        "tokens gave None .* as mask",
    ),
    "another width": (lambda _, x: (x[:, :, None], x > 0), r"tokens gave a tensor \(3, 5, 1\)"),
    "a mask of numbers": (lambda _, x: (x[:, :, None].expand(-1, -1, 7), x), "as mask; needed.*bool"),
    "a mask of samples": (lambda _, x: (x[:, :, None].expand(-1, -1, 7), x[:, 0] > 0), "as mask"),
    "an error": (lambda _, __: 1 / 0, "tokens failed on samples .*ZeroDivisionError"),
}


@pytest.mark.parametrize("case", TOKENS)
def test_tokens_that_are_none_are_told(case: str) -> None:
    tokens, says = TOKENS[case]
    with pytest.raises(UserError, match=says):
        attempt(type("Net", (Plain,), {"tokens": tokens}))


def test_stages_that_are_none_are_told() -> None:
    with pytest.raises(UserError, match=r"stages gave an? int among its outputs"):
        attempt(type("Net", (Plain,), {"stages": lambda _, x: [x, 3]}))


def test_trying_a_net_leaves_no_trace() -> None:
    class Drawing(Plain):
        def __init__(self, shape: tuple[int, ...], width: int) -> None:
            super().__init__(shape, width)
            torch.manual_seed(1)
            random.random()
            np.random.rand(3)
            torch.set_grad_enabled(False)
            torch.set_default_dtype(torch.float32)

    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    attempt(Drawing)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tolist() == before[2]
    assert torch.is_grad_enabled()


def test_a_net_that_needs_real_numbers_is_tried_on_them() -> None:
    """Without memory its `item` has nothing to read."""

    def forward(self: Plain, x: Tensor) -> Tensor:
        return self.layer(x) * (1.0 if float(x.sum().item()) >= 0 else 2.0)

    attempt(type("Net", (Plain,), {"forward": forward}))
    with pytest.raises(UserError, match="forward gave a tensor"):
        attempt(type("Net", (Plain,), {"forward": lambda _, x: x * float(x.sum().item())}))


def test_a_recurrent_net_is_tried_on_the_cpu_as_it_takes_long_without_memory() -> None:
    seen = []

    class Net(Plain):
        def __init__(self, shape: tuple[int, ...], width: int) -> None:
            super().__init__(shape, width)
            self.gru = nn.GRU(4, width, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            steps = self.gru(x)[0]
            seen.append(steps.device.type)
            return steps[:, -1]

    attempt(Net, SEQUENCE)
    assert seen == ["cpu", "cpu"]


def test_tensors_that_want_gradients_and_are_no_parameters_are_told() -> None:
    class Net(Plain):
        def __init__(self, shape: tuple[int, ...], width: int) -> None:
            super().__init__(shape, width)
            self.scale = torch.ones(width, requires_grad=True)

    with pytest.raises(UserError, match="its attribute 'scale' holds layers or tensors that torch does not know of"):
        attempt(Net)


def test_a_frozen_net_in_a_list_is_a_teacher_that_its_writer_hides_from_the_state() -> None:
    class Net(Plain):
        def __init__(self, shape: tuple[int, ...], width: int) -> None:
            super().__init__(shape, width)
            self.teacher = [nn.Linear(5, width).requires_grad_(False)]
            self.again = [self.layer]

    attempt(Net)


def test_stages_that_need_real_numbers_are_tried_on_them() -> None:
    class Net(Plain):
        def stages(self, x: Tensor) -> list[Tensor]:
            return [x * (1.0 if float(x.sum().item()) >= 0 else 2.0)]

    kind = kind_of(Net)
    assert stage_sizes({"voice": Encoder(kind, {})}, {"voice": SHAPE}, 7) == {"voice": (5,)}


def test_a_net_without_parameters_is_a_net() -> None:
    class Mean(nn.Module):
        def __init__(self, shape: tuple[int, ...], width: int) -> None:
            super().__init__()
            self.width = width

        def forward(self, x: Tensor) -> Tensor:
            return x.mean(1, keepdim=True).expand(-1, self.width)

    attempt(Mean)


def test_a_pass_may_keep_what_it_can_compute_again() -> None:
    class Cached(Plain):
        def forward(self, x: Tensor) -> Tensor:
            self.register_buffer("places", torch.arange(len(x)), persistent=False)
            return super().forward(x)

    attempt(Cached)


def test_samples_that_a_net_does_not_declare_are_refused_with_those_that_fit() -> None:
    with pytest.raises(UserError, match=r"does not take samples of shape \(5,\): it declares samples of 2 axes.*=mlp"):
        attempt(type("Net", (Plain,), {"axes": (2,)}))
    with pytest.raises(UserError, match=r"does not take padded samples.*none padded.*=transformer"):
        attempt(type("Net", (Plain,), {"padded": False}), SEQUENCE)
    attempt(type("Net", (Plain,), {"axes": 1}))


# Lengths


def test_lengths_are_given_only_where_the_signature_takes_them_and_padding_is_zero() -> None:
    seen: list[tuple[Tensor, Tensor | None]] = []

    class Told(Plain):
        def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
            seen.append((x, lengths))
            return super().forward(x)

    class Untold(Plain):
        def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
            seen.append((x, None))
            return super().forward(x) * scale

    values, lengths = torch.ones(2, 6, 4), torch.tensor([2, 6])
    for cls in (Told, Untold):
        kind = kind_of(cls)
        assert kind.sees_padding is (cls is Untold)
        kind.make(SEQUENCE, 7, {"depth": 1, "rate": 0.0})(values, lengths)
    assert torch.equal(seen[0][1], lengths)
    for x, _ in seen:
        assert x.sum((1, 2)).tolist() == [8.0, 24.0]


# Weights


class Made(Plain):
    """Its own weights: a bare parameter, a draw of NumPy, an initialisation by hand, a buffer."""

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__(shape, width)
        self.bare = nn.Parameter(torch.randn(3))
        self.numpy = nn.Parameter(torch.tensor(np.random.rand(3)))
        nn.init.constant_(self.layer.weight, 0.25)
        self.register_buffer("still", torch.randn(2), persistent=False)


def made(seed: int, name: str = "voice") -> dict[str, Tensor]:
    model = nn.ModuleDict({name: kind_of(Made).make(SHAPE, 7, {})})
    initialise(model, seed)
    return {k.partition(".")[2]: v.clone() for k, v in [*model.named_parameters(), *model.named_buffers()]}


def test_the_constructor_decides_the_weights_and_seed_and_name_its_draws() -> None:
    first = made(0)
    torch.manual_seed(8)
    np.random.seed(8)
    again = made(0)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert (first["net.layer.weight"] == 0.25).all()
    for other in (made(1), made(0, "face")):
        assert not any(torch.equal(first[k], other[k]) for k in ("net.bare", "net.numpy", "net.still"))
