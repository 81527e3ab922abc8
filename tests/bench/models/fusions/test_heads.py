"""What every fusion head that comes with the harness does with encoders: padding, order, tasks, dropout, owners."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.core import seeds
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.build import build_model, encoder_of
from mcr_bench.bench.models.declared import Encoder, Head
from mcr_bench.bench.models.fusions.late_linear import LateLinear
from mcr_bench.bench.models.kinds import encoder_kind_of, fusion_kind_of, fusion_kinds
from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel
from mcr_bench.bench.models.parts import pooled_stages, stages_of, tokens_of
from mcr_bench.bench.models.tried import tried
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.settings.training import EncoderSettings
from mcr_bench.bench.task import Task
from mcr_bench.tests.support.runs.named_nets import make_encoder

SHAPES = {
    "vector": Modality((5,)),
    "steps": Modality((9, 3), padded=True),
    "image": Modality((1, 9, 8)),
    "clip": Modality((3, 1, 8, 8), padded=True),
}
SMALL = {
    "tensor-fusion": {"hidden": 7, "projection": "3"},
    "bottleneck-tokens": {"layers": 2, "bottlenecks": 2},
    "cross-modal": {"layers": 1, "size": 4, "heads": 2},
    "class-token": {"heads": 2},
    "central-path": {},
}
NAMES = tuple(SHAPES)
READING = [name for name in SMALL if fusion_kinds()[name].reads]


def model_of(head: str, names: tuple[str, ...] = NAMES, task: Task = Task(3), **encoder: object) -> MultimodalModel:  # noqa: B008
    chosen = {m: encoder_of(EncoderSettings(**{"width": 8, **encoder}), SHAPES[m]) for m in names}  # type: ignore[arg-type]
    shapes = {m: SHAPES[m] for m in names}
    model = build_model(shapes, task, Head(fusion_kind_of(head), 6, SMALL[head]), chosen)
    seeds.initialise(model, 0)
    return model.eval()


def inputs_of(names: tuple[str, ...] = NAMES, n: int = 4) -> Inputs:
    values, lengths = {}, {}
    for m in names:
        draw = torch.Generator().manual_seed(NAMES.index(m))
        values[m] = torch.randn(n, *SHAPES[m].shape, generator=draw)
        if SHAPES[m].padded:
            lengths[m] = 1 + torch.arange(n) % SHAPES[m].shape[0]
    return Inputs(values, lengths)


def test_heads_of_papers_say_where_they_are_from_and_in_what_they_differ() -> None:
    for name in SMALL:
        kind = fusion_kinds()[name]
        assert "arXiv" in kind.reference, name
        assert len(kind.deviations) >= 2, name
        assert all(setting.doc and setting.origin for setting in kind.settings.values())
        assert kind.at_least == 2


@pytest.mark.parametrize("head", SMALL)
def test_a_single_modality_goes_through_late_linear(head: str) -> None:
    for name in ("vector", "clip"):
        assert isinstance(model_of(head, (name,)).fusion, LateLinear)


@pytest.mark.parametrize(
    "task",
    [Task(3), Task(None), Task(None, labels=5), Task(None, scores=2)],
    ids=["classes", "score", "labels", "scores"],
)
@pytest.mark.parametrize("head", SMALL)
def test_outputs_are_those_of_the_task(head: str, task: Task) -> None:
    for names in (NAMES[:2], NAMES[1:], NAMES):
        for n in (1, 4):
            assert model_of(head, names, task)(inputs_of(names, n)).logits.shape == (n, task.outputs)


@pytest.mark.parametrize("head", SMALL)
@pytest.mark.parametrize("names", [NAMES[:2], NAMES[1:], NAMES])
def test_neither_weights_nor_logits_depend_on_the_order_of_modalities(head: str, names: tuple[str, ...]) -> None:
    model, turned = model_of(head, names), model_of(head, names[::-1])
    first, second = model.state_dict(), turned.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[k], second[k]) for k in first)
    torch.testing.assert_close(turned(inputs_of(names[::-1])).logits, model(inputs_of(names)).logits)


@pytest.mark.parametrize("head", SMALL)
@pytest.mark.parametrize("names", [("steps", "clip"), NAMES])
def test_padding_and_the_other_samples_do_not_matter(head: str, names: tuple[str, ...]) -> None:
    """A batch, the same with noise behind the ends of sequences, and each of its samples alone."""
    model, inputs = model_of(head, names), inputs_of(names)
    logits = model(inputs).logits
    noisy = {m: x.clone() for m, x in inputs.values.items()}
    for m, lengths in inputs.lengths.items():
        for row, length in enumerate(lengths):
            noisy[m][row, int(length) :] = 100.0
    torch.testing.assert_close(model(Inputs(noisy, inputs.lengths)).logits, logits)
    for row in range(4):
        one = Inputs({m: x[[row]] for m, x in inputs.values.items()}, {m: k[[row]] for m, k in inputs.lengths.items()})
        torch.testing.assert_close(model(one).logits, logits[[row]])


@pytest.mark.parametrize("head", SMALL)
def test_sequences_without_their_padded_steps_give_the_same(head: str) -> None:
    names = ("steps", "vector")
    model, inputs = model_of(head, names), inputs_of(names)
    inputs.lengths["steps"][:] = 4
    cut = Inputs({**inputs.values, "steps": inputs.values["steps"][:, :4]}, inputs.lengths)
    torch.testing.assert_close(model(cut).logits, model(inputs).logits)


@pytest.mark.parametrize("head", SMALL)
def test_every_parameter_of_a_head_has_an_owner_and_a_gradient(head: str) -> None:
    model, inputs = model_of(head), inputs_of()
    features = model.encode(inputs)
    model.fusion(features).logits.square().sum().backward()
    owners = {name.removeprefix("fusion."): owner for name, _, owner in model.owned() if name.startswith("fusion.")}
    assert {owner.role for owner in owners.values()} <= {"fusion_slice", "fusion_shared"}
    assert {owner.modality for owner in owners.values()} - {None} == (set() if head == "class-token" else set(NAMES))
    for name, parameter in model.fusion.named_parameters():
        assert parameter.grad is not None, name


def test_the_regions_of_a_tensor_belong_to_whom_they_multiply() -> None:
    model = model_of("tensor-fusion", ("vector", "image"))
    names = {name: owner.modality for name, _, owner in model.owned() if name.startswith("fusion.")}
    assert names["fusion.slices.image.weigh.weight"] == "image"
    assert names["fusion.slices.vector.project.weight"] == "vector"
    assert names["fusion.regions.image+vector.weight"] is None
    assert names["fusion.hidden_bias"] is None


def test_transformers_of_pairs_are_shared_and_layers_of_one_modality_are_its_own() -> None:
    pairs = {name: owner.modality for name, _, owner in model_of("cross-modal", ("vector", "image")).owned()}
    assert pairs["fusion.slices.image.weight"] == "image"
    assert pairs["fusion.pairs.vector->image.layers.0.hidden.weight"] is None
    paths = {name: owner.modality for name, _, owner in model_of("bottleneck-tokens", ("vector", "image")).owned()}
    assert paths["fusion.slices.image.layers.0.hidden.weight"] == "image"
    assert (paths["fusion.bottlenecks"], paths["fusion.output.weight"]) == (None, None)
    central = {name: owner.modality for name, _, owner in model_of("central-path", ("vector", "image")).owned()}
    assert central["fusion.slices.image.weights"] == "image"
    assert central["fusion.carried"] is None


@pytest.mark.parametrize("head", ["bottleneck-tokens", "cross-modal", "class-token"])
def test_dropout_draws_from_the_stream_of_the_step(head: str) -> None:
    names = ("vector", "steps")
    settings = {**SMALL[head], "dropout": 0.5}
    chosen = {m: encoder_of(EncoderSettings(width=8), SHAPES[m]) for m in names}
    model = build_model({m: SHAPES[m] for m in names}, Task(3), Head(fusion_kind_of(head), 6, settings), chosen)
    seeds.initialise(model, 0)
    logits = []
    for step in (1, 1, 2):
        seeds.reseed(torch.device("cpu"), 0, "augment", 1, step)
        logits.append(model.train()(inputs_of(names)).logits)
    assert torch.equal(logits[0], logits[1])
    assert not torch.equal(logits[0], logits[2])
    assert torch.equal(model.eval()(inputs_of(names)).logits, model(inputs_of(names)).logits)


@pytest.mark.parametrize("head", SMALL)
def test_bfloat16_changes_logits_by_rounding_alone(head: str) -> None:
    model, inputs = model_of(head), inputs_of()
    plain = model(inputs).logits
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(inputs).logits
    torch.testing.assert_close(rounded.float(), plain, rtol=0.1, atol=0.1)
    assert not torch.equal(rounded.float(), plain)
    rounded.float().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.fusion.parameters() if p.grad is not None)


@pytest.mark.parametrize("head", SMALL)
@pytest.mark.parametrize("m", ["steps", "image"])
def test_what_is_dropped_neither_matters_nor_learns(head: str, m: str) -> None:
    """A modality that is dropped for some samples: these do not change with its input, the others do."""
    model, inputs = model_of(head), inputs_of()
    dropped = {m: torch.tensor([True, False, True, False])}
    other = Inputs({**inputs.values, m: inputs.values[m] + 1.0}, inputs.lengths)
    logits, changed = (model(x, dropped=dropped).logits for x in (inputs, other))
    torch.testing.assert_close(changed[::2], logits[::2])
    assert not any(torch.allclose(a, b) for a, b in zip(changed[1::2], logits[1::2], strict=True))
    model.zero_grad()
    model(inputs, dropped={m: torch.ones(4, dtype=torch.bool)}).logits.sum().backward()
    assert not any(p.grad.any() for p in model.encoders[m].parameters() if p.grad is not None)


def trial(head: str, encoders: Mapping[str, Encoder], values: Mapping[str, object] = {}) -> frozenset[str]:
    shapes = {m: SHAPES[m] for m in encoders}
    return tried(shapes, 3, Head(fusion_kind_of(head), 6, {**SMALL[head], **values}), encoders).asks  # type: ignore[dict-item]


@pytest.mark.parametrize("head", SMALL)
def test_what_a_head_reads_is_known_before_any_training(head: str) -> None:
    encoders = {m: encoder_of(EncoderSettings(width=8), SHAPES[m]) for m in ("vector", "image")}
    assert trial(head, encoders) == set(fusion_kinds()[head].reads)
    assert trial(head, {"image": encoders["image"]}) == frozenset()


@pytest.mark.parametrize("head", READING)
def test_encoders_without_the_parts_are_refused_with_those_that_have_them(head: str) -> None:
    bare = replace(encoder_kind_of("conv2d"), name="bare", tokens=False, stages=False)
    encoders = {m: encoder_of(EncoderSettings(width=8), SHAPES[m]) for m in ("vector", "image")}
    encoders["image"] = Encoder(bare, encoders["image"].values)
    (part,) = fusion_kinds()[head].reads
    says = f"model.fusion={head} reads the {part} of 'image', whose encoder bare has none.*conv2d, .*resnet18"
    with pytest.raises(UserError, match=says):
        trial(head, encoders)
    with pytest.raises(UserError, match=says):
        build_model({m: SHAPES[m] for m in encoders}, Task(3), Head(fusion_kind_of(head), 6, {}), encoders)


@pytest.mark.parametrize("head", ["central-path", "cross-modal"])
def test_ids_of_words_are_joined_with_other_modalities(head: str) -> None:
    shapes = {"words": Modality((5, 1), padded=True, vocabulary=9), "vector": Modality((4,))}
    encoders = {m: encoder_of(EncoderSettings(width=8), shape) for m, shape in shapes.items()}
    model = build_model(shapes, Task(3), Head(fusion_kind_of(head), 6, SMALL[head]), encoders)
    seeds.initialise(model, 0)
    words, lengths = torch.ones(2, 5, 1, dtype=torch.int64), torch.tensor([5, 2])
    given = model(Inputs({"words": words, "vector": torch.ones(2, 4)}, {"words": lengths})).logits
    assert given.shape == (2, 3)


def test_settings_that_cannot_be_are_refused_before_any_training() -> None:
    encoders = {m: encoder_of(EncoderSettings(width=8), SHAPES[m]) for m in NAMES}
    with pytest.raises(UserError, match=r"model\.fusion=tensor-fusion: the outer product of 4 modalities"):
        trial("tensor-fusion", encoders, {"projection": "99"})
    with pytest.raises(UserError, match=r"model\.heads=4 does not divide"):
        trial("class-token", encoders, {"heads": 4})


# Tokens and stages of encoders


def test_a_flattened_sample_is_one_token_and_its_layers_are_stages() -> None:
    for depth in (1, 3):
        encoder = make_encoder("mlp", SHAPES["image"], 6, EncoderSettings(width=8, depth=depth, dropout=0.5))
        seeds.initialise(encoder, 0)
        values = inputs_of(("image",)).values["image"]
        tokens, mask = tokens_of(encoder.eval(), values, None)
        assert mask.all()
        assert mask.shape == (4, 1)
        assert torch.equal(tokens[:, 0], encoder(values))
        stages = stages_of(encoder, values, None)
        assert [tuple(s.shape) for s in stages] == [(4, 8)] * (depth - 1) + [(4, 6)]
        assert torch.equal(stages[-1], encoder(values))


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("conv1d", Modality((13, 3), padded=True)),
        ("transformer", Modality((13, 3), padded=True)),
        ("windows", Modality((13, 3), padded=True)),
        ("conv2d", Modality((13, 1, 6, 5), padded=True)),
        ("resnet18", Modality((4, 1, 33, 40), padded=True)),
    ],
)
def test_a_stage_is_pooled_over_the_steps_of_each_sample_alone(kind: str, shape: Modality) -> None:
    """Every sample, cut to its own steps, has the stages that it has in a padded batch."""
    encoder = make_encoder(kind, shape, 6, EncoderSettings(width=8, depth=3)).eval()
    seeds.initialise(encoder, 0)
    steps = shape.shape[0]
    lengths = torch.tensor([1, steps, steps // 2, steps - 1])
    values = torch.randn(4, *shape.shape, generator=torch.Generator().manual_seed(3))
    pooled = pooled_stages(stages_of(encoder, values, lengths))
    for row, length in enumerate(lengths.tolist()):
        alone = pooled_stages(stages_of(encoder, values[[row], :length], torch.tensor([length])))
        for whole, own in zip(pooled, alone, strict=True):
            torch.testing.assert_close(whole[row], own[0], rtol=1e-4, atol=1e-5)


def test_stages_of_a_net_that_does_not_tell_its_steps_have_their_share() -> None:
    class Halving(torch.nn.Module):
        def stages(self, x: Tensor) -> list[Tensor]:
            return [x, x[:, ::2]]

    x = torch.arange(12.0).reshape(2, 6, 1)
    pooled = pooled_stages(stages_of(Halving(), x, torch.tensor([6, 3])))
    assert [p[:, 0].tolist() for p in pooled] == [[2.5, 7.0], [2.0, 7.0]]
