"""The heads of the references give what their formulas say, computed here with loops and sums over entries."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.attention import attend
from mcr_bench.bench.models.fusion import Fusion
from mcr_bench.bench.models.fusions.central_path import CentralPath
from mcr_bench.bench.models.fusions.class_token import ClassToken
from mcr_bench.bench.models.kinds import fusion_kind_of
from mcr_bench.bench.models.parts import Encoded, Stages
from mcr_bench.tests.support.runs.by_hand import (
    Array,
    array,
    attended,
    block,
    drawn,
    encoded,
    gelu,
    linear,
    norm,
    place,
    relu,
    stirred,
    values_of,
)

NAMES = ["ear", "eye", "hand", "nose"]
B, D, C = 3, 6, 4


def features_of(names: list[str]) -> dict[str, Tensor]:
    return {m: values_of((B, D), NAMES.index(m)) for m in names}


def tokens_of(names: list[str]) -> dict[str, tuple[Tensor, Tensor]]:
    """Two to five tokens per modality, of which some are padding, in the middle too."""
    given = {}
    for number, m in enumerate(names):
        mask = torch.ones(B, 2 + number, dtype=torch.bool)
        mask[1, -1] = mask[2, 0] = False
        given[m] = values_of((B, 2 + number, D), 10 + NAMES.index(m)), mask
    return given


def real(tokens: tuple[Tensor, Tensor], row: int) -> list[tuple[int, Array]]:
    """(place, token) of the real tokens of a sample."""
    return [(t, array(x)) for t, (x, own) in enumerate(zip(tokens[0][row], tokens[1][row], strict=True)) if own]


def module(parent: object, *path: str) -> nn.Module:
    found = parent
    for name in path:
        found = found[name] if isinstance(found, nn.ModuleDict) else getattr(found, name)  # type: ignore[assignment]
    assert isinstance(found, nn.Module)
    return found


# Tensor fusion


@pytest.mark.parametrize(("count", "projection"), [(2, ""), (2, "eye=3"), (3, "2"), (3, "ear=1;hand=2"), (4, "")])
def test_tensor_fusion_is_a_network_over_the_outer_product(count: int, projection: str) -> None:
    names = NAMES[:count]
    head = drawn("tensor-fusion", names, D, C, {"projection": projection, "hidden": 5})
    features = features_of(names)
    ones = {}
    for m in names:
        project = module(head.slices[m], "project")
        part = features[m] if isinstance(project, nn.Identity) else features[m] @ project.weight.T + project.bias
        ones[m] = torch.cat((part, torch.ones(B, 1, dtype=torch.double)), 1)
    letters = "pqrs"[:count]
    spec = ",".join(f"b{x}" for x in letters) + f"->b{letters}"
    tensor = torch.einsum(spec, *ones.values())
    weight = torch.zeros(5, *tensor.shape[1:], dtype=torch.double)
    for name, layer in [*head.regions.items(), *((m, module(head.slices[m], "weigh")) for m in names)]:  # type: ignore[operator,union-attr]
        inside = name.split("+")
        region = tuple(slice(0, -1) if m in inside else slice(-1, None) for m in names)
        weight[(slice(None), *region)] = layer.weight.reshape(weight[(slice(None), *region)].shape)
    hidden = torch.relu(tensor.flatten(1) @ weight.flatten(1).T + head.hidden_bias)
    second = torch.relu(hidden @ head.second.weight.T + head.second.bias)
    torch.testing.assert_close(head(features).logits, second @ head.output.weight.T + head.output.bias)
    assert tensor[0].numel() == head.size


def test_tensor_fusion_of_two_numbers() -> None:
    """f = 2 and g = 3 under weights of 1: relu(2 + 3 + 2 x 3 - 4) = 7, then 7 + 1 and 8 + 0.5."""
    head = fusion_kind_of("tensor-fusion").make(["f", "g"], 1, 1, {"hidden": 1})
    for name, value in {"hidden_bias": -4.0, "second.bias": 1.0, "output.bias": 0.5}.items():
        nn.init.constant_(head.get_parameter(name), value)
    for name, parameter in head.named_parameters():
        if name.endswith("weight"):
            nn.init.ones_(parameter)
    assert head({"f": torch.tensor([[2.0]]), "g": torch.tensor([[3.0]])}).logits.item() == 8.5


@pytest.mark.parametrize(
    ("count", "width", "projection", "says"),
    [
        (4, 64, "", r"65 x 65 x 65 x 65 = 17,850,625 numbers.*2,284,880,000 weights.*projection=25 \(or less\)"),
        (2, 1000, "", r"1001 x 1001 = 1,002,001 numbers.*model.projection=706"),
        (3, 64, "ear=500", r"501 x 65 x 65 = 2,116,725 numbers.*model.projection=78"),
        (19, 4, "1", r"= 524,288 numbers.*Use another head, or fewer modalities"),
    ],
)
def test_a_product_that_is_too_large_is_refused_with_what_it_needs(
    count: int, width: int, projection: str, says: str
) -> None:
    names = [*NAMES, *(f"m{n}" for n in range(20))][:count]
    with pytest.raises(UserError, match=says):
        fusion_kind_of("tensor-fusion").make(names, width, 3, {"projection": projection})


@pytest.mark.parametrize(
    ("projection", "says"),
    [
        ("eyes=4", "unknown modality in model.projection 'eyes'.*Did you mean eye"),
        ("0", "model.projection=0: not allowed.*whole number >= 1 for all.*'ear=16;eye=16'"),
        ("ear=", "model.projection=ear=: not allowed"),
        ("-3", "unknown modality in model.projection '-3'"),
        ("ear=2.5", "not allowed"),
    ],
)
def test_projections_that_mean_nothing_are_refused(projection: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        fusion_kind_of("tensor-fusion").make(["ear", "eye"], D, 3, {"projection": projection})


# Bottleneck tokens


@pytest.mark.parametrize(("count", "layers", "heads"), [(2, 1, 1), (3, 2, 3), (4, 2, 2)])
def test_bottleneck_tokens_are_averaged_after_every_layer(count: int, layers: int, heads: int) -> None:
    names = NAMES[:count]
    values = {"bottlenecks": 2, "layers": layers, "heads": heads}
    head = drawn("bottleneck-tokens", names, D, C, values)
    tokens = tokens_of(names)
    logits = head(encoded(features_of(names), tokens)).logits
    for row in range(B):
        own = {}
        for m in names:
            first = array(module(head.slices[m]).token) + place(0, D)  # type: ignore[arg-type]
            own[m] = [first, *(x + place(t + 1, D) for t, x in real(tokens[m], row))]
        shared = list(array(head.bottlenecks))  # type: ignore[arg-type]
        for layer in range(layers):
            after = []
            for m in names:
                path = module(head.slices[m]).layers[layer]  # type: ignore[index,union-attr]
                given = block(path, [*own[m], *shared], heads, gelu)
                own[m], mine = given[:-2], given[-2:]
                after.append(mine)
            shared = [np.mean([mine[n] for mine in after], 0) for n in range(2)]
        expected = np.mean([linear(head.output, norm(head.norm, own[m][0])) for m in names], 0)  # type: ignore[arg-type]
        np.testing.assert_allclose(array(logits[row]), expected, atol=1e-6)  # positions are of single precision


# Cross-modal attention


@pytest.mark.parametrize(("count", "layers", "heads"), [(2, 1, 1), (3, 2, 2), (4, 1, 4)])
def test_every_ordered_pair_has_a_transformer(count: int, layers: int, heads: int) -> None:
    names = NAMES[:count]
    head = drawn("cross-modal", names, D, C, {"size": 4, "layers": layers, "heads": heads})
    tokens = tokens_of(names)
    logits = head(encoded(features_of(names), tokens)).logits
    pairs = module(head, "pairs")
    assert isinstance(pairs, nn.ModuleDict)
    assert set(pairs) == {f"{k}->{m}" for k in names for m in names if k != m}
    for row in range(B):
        last = []
        for m in names:
            streams = [_stream(head, pairs[f"{k}->{m}"], tokens, k, m, row, heads) for k in names if k != m]
            joined = [(t, np.concatenate([s[n] for s in streams])) for n, (t, _) in enumerate(real(tokens[m], row))]
            memory = module(head, "memories", m)
            last.append(_through(memory, joined, heads)[-1])
        h = np.concatenate(last)
        first, second, output = (module(head, name) for name in ("first", "second", "output"))
        expected = linear(output, h + linear(second, relu(linear(first, h))))
        np.testing.assert_allclose(array(logits[row]), expected, atol=1e-6)


def _stream(
    head: Fusion, pair: nn.Module, tokens: dict[str, tuple[Tensor, Tensor]], k: str, m: str, row: int, heads: int
) -> list[Array]:
    target = [(t, linear(module(head, "slices", m), x)) for t, x in real(tokens[m], row)]
    source = [(t, linear(module(head, "slices", k), x)) for t, x in real(tokens[k], row)]
    return _through(pair, target, heads, source)


def _through(
    transformer: nn.Module, x: list[tuple[int, Array]], heads: int, context: list[tuple[int, Array]] | None = None
) -> list[Array]:
    scaled = [math.sqrt(len(v)) * v + place(t, len(v)) for t, v in x]
    seen = None if context is None else [math.sqrt(len(v)) * v + place(t, len(v)) for t, v in context]
    for layer in transformer.layers:  # type: ignore[union-attr]
        scaled = block(layer, scaled, heads, relu, seen)
    return [norm(transformer.norm, v) for v in scaled]  # type: ignore[arg-type]


def test_self_attention_has_three_layers_at_least() -> None:
    depths = {}
    for layers in (1, 4):
        head = drawn("cross-modal", NAMES[:2], D, C, {"size": 4, "layers": layers, "heads": 1})
        depths[layers] = [
            len(module(head, room, name).layers) for room, name in (("pairs", "ear->eye"), ("memories", "eye"))
        ]  # type: ignore[arg-type]
    assert depths == {1: [1, 3], 4: [4, 4]}


# The class token


@pytest.mark.parametrize(("count", "heads"), [(2, 1), (3, 2), (4, 3)])
def test_the_class_token_attends_to_itself_and_to_all_real_tokens(count: int, heads: int) -> None:
    names = NAMES[:count]
    head = drawn("class-token", names, D, C, {"heads": heads})
    assert isinstance(head, ClassToken)
    tokens = tokens_of(names)
    logits = head(encoded(features_of(names), tokens)).logits
    token = array(head.token)
    for row in range(B):
        seen = [token, *(x for m in names for _, x in real(tokens[m], row))]
        keys, values = [linear(head.key, x) for x in seen], [linear(head.value, x) for x in seen]
        given = linear(head.out, attended(linear(head.query, token), keys, values, heads))
        np.testing.assert_allclose(array(logits[row]), linear(head.output, given), atol=1e-10)


def test_what_the_class_token_looks_with_can_be_read_and_changed() -> None:
    head = drawn("class-token", NAMES[:2], D, C, {})
    assert isinstance(head, ClassToken)
    tokens = tokens_of(NAMES[:2])
    looked = head.looked(encoded(features_of(NAMES[:2]), tokens))
    assert looked.query.shape == (B, D)
    assert {m: tuple(k.shape) for m, k in looked.keys.items()} == {"ear": (B, 2, D), "eye": (B, 3, D)}
    for m, means in looked.mean_keys().items():
        for row in range(B):
            own = [linear(head.key, x) for _, x in real(tokens[m], row)]
            np.testing.assert_allclose(array(means[row]), np.mean(own, 0))
    plain = head.answer(looked)

    class Turned(nn.Module):
        def forward(self, query: Tensor) -> Tensor:
            return query.flip(1)

    head.turn = Turned()
    turned = head(encoded(features_of(NAMES[:2]), tokens)).logits
    assert not torch.allclose(turned, plain)
    object.__setattr__(looked, "query", looked.query.flip(1))
    torch.testing.assert_close(head.answer(looked), turned)


# The central path


def stages_of(sizes: dict[str, list[tuple[int, ...]]]) -> tuple[dict[str, Stages], dict[str, list[Tensor]]]:
    """Stages of these shapes, and the vectors (B, K) that they are pooled to; sequences have 3, 2 and 1 own steps."""
    own = torch.tensor([3, 2, 1])
    stages, pooled = {}, {}
    for number, (m, shapes) in enumerate(sizes.items()):
        made = [values_of((B, *shape), 50 * number + n) for n, shape in enumerate(shapes)]
        steps = [own if len(shape) in (2, 4) else None for shape in shapes]
        stages[m] = Stages(made, steps)
        pooled[m] = [torch.stack([_mean(x[b], s, b) for b in range(B)]) for x, s in zip(made, steps, strict=True)]
    return stages, pooled


def _mean(x: Tensor, own: Tensor | None, row: int) -> Tensor:
    if x.ndim == 3:  # (K, h, w)
        return torch.stack([channel.mean() for channel in x])
    if x.ndim == 4:  # (T, K, h, w)
        x = torch.stack([torch.stack([channel.mean() for channel in frame]) for frame in x])
    assert own is None or x.ndim == 2
    return x if own is None else sum(x[t] for t in range(int(own[row]))) / int(own[row])  # type: ignore[return-value]


@pytest.mark.parametrize(
    "sizes",
    [
        {"ear": [(3, 5), (3, D)], "eye": [(4, 2, 2), (D, 1, 3)]},
        {"ear": [(3, 5)], "eye": [(4, 2, 2), (D, 1, 3), (7, 1, 1)], "hand": [(D,), (2,)]},
        {"ear": [(3, 5)], "eye": [(4, 2, 2)], "hand": [(8,)], "nose": [(3, 2, 2, 1), (3, D)]},
    ],
)
def test_the_central_path_takes_weighted_sums_of_stages(sizes: dict[str, list[tuple[int, ...]]]) -> None:
    stages, pooled = stages_of(sizes)
    head = stirred(CentralPath({m: tuple(x.shape[1] for x in pooled[m]) for m in sizes}, D, C))
    features = features_of(list(sizes))
    logits = head(encoded(features, stages=stages)).logits
    depth = 1 + max(len(shapes) for shapes in sizes.values())
    carried = array(head.get_parameter("carried"))
    for row in range(B):
        hidden = np.zeros(D)
        for level in range(depth):
            total = carried[level - 1] * hidden if level else np.zeros(D)
            for m in sizes:
                steps = [*pooled[m], features[m]]
                at = level - (depth - len(steps))
                if at < 0:
                    continue
                x = array(steps[at][row])
                if at < len(pooled[m]) and len(x) != D:
                    x = linear(module(head.slices[m]).projections[at], x)  # type: ignore[index]
                total = total + array(head.get_parameter(f"slices.{m}.weights"))[at] * x
            hidden = relu(linear(module(head, "layers")[level], total))  # type: ignore[index]
        np.testing.assert_allclose(array(logits[row]), linear(module(head, "output"), hidden), atol=1e-10)


def test_a_stage_of_six_axes_is_refused() -> None:
    head = stirred(CentralPath({"ear": (2,), "eye": (2,)}, D, C))
    stage = {m: Stages([values_of((B, 2, 2, 2, 2, 2), 0)], [None]) for m in ("ear", "eye")}
    with pytest.raises(UserError, match=r"stage of shape \(3, 2, 2, 2, 2, 2\), which cannot be pooled"):
        head(encoded(features_of(["ear", "eye"]), stages=stage))


# What all have in common


def test_a_sample_without_a_real_token_gets_nothing_and_passes_no_gradient() -> None:
    query, key, value = (values_of((2, 1, 3, 4), n).requires_grad_() for n in range(3))
    mask = torch.tensor([[False] * 3, [True, False, True]])
    given = attend(query, key, value, mask)
    given.sum().backward()
    assert value.grad is not None
    assert not given[0].any()
    assert not value.grad[0].any()
    assert not value.grad[1, 0, 1].any()
    assert value.grad[1, 0, 0].all()


@pytest.mark.parametrize("name", ["bottleneck-tokens", "cross-modal", "class-token"])
def test_heads_that_do_not_divide_the_width_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"model.heads=7 does not divide the width of the tokens, .*Allowed: 1, 2"):
        fusion_kind_of(name).make(["ear", "eye"], 10, 3, {"heads": 7, "size": 20})


@pytest.mark.parametrize("name", ["bottleneck-tokens", "cross-modal", "class-token"])
def test_features_of_a_methods_own_making_are_refused(name: str) -> None:
    head = drawn(name, ["ear", "eye"], 10, 3, {})
    with pytest.raises(UserError, match="reads the tokens of 'ear', but the method gives it features of its own"):
        head(features_of(["ear", "eye"]))
    assert not isinstance(features_of(["ear"]), Encoded)
