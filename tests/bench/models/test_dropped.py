"""Modalities that are dropped for some samples: what takes their place, and that no gradient goes back."""

import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.models.fusion import Fused, Fusion
from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel
from mcr_bench.bench.testing.fits import NAMES, make_fit, tiny_split
from mcr_bench.methods.joint import Joint


def model_of(count: int, fusion: str = "late-linear") -> tuple[MultimodalModel, Inputs]:
    """A model of `count` modalities and inputs of six samples, which want gradients."""
    fit = make_fit(Joint(), NAMES[:count], fusion=fusion)
    inputs = tiny_split(NAMES[:count], n=6, seed=3).batch(torch.arange(6)).inputs
    return fit.model, inputs.replace({m: x.requires_grad_() for m, x in inputs.values.items()})


FLAGS = torch.tensor([True, False, True, False, False, False])


@pytest.mark.parametrize("fusion", ["late-linear", "gated", "concat-mlp"])
@pytest.mark.parametrize("count", [2, 3])
def test_a_dropped_feature_is_zero_and_others_are_as_before(count: int, fusion: str) -> None:
    model, inputs = model_of(count, fusion)
    plain, outputs = model(inputs), model(inputs, dropped={NAMES[1]: FLAGS})
    for m in NAMES[:count]:
        kept = ~FLAGS if m == NAMES[1] else torch.ones(6, dtype=torch.bool)
        assert torch.equal(outputs.features[m][kept], plain.features[m][kept])
        assert not outputs.features[m][~kept].any()
    zeroed = {m: f.detach().clone() for m, f in plain.features.items()}
    zeroed[NAMES[1]][FLAGS] = 0
    assert torch.equal(outputs.logits, model.fuse(zeroed).logits)
    assert torch.equal(outputs.logits[~FLAGS], plain.logits[~FLAGS])


@pytest.mark.parametrize("fill", ["zero", "mean"])
@pytest.mark.parametrize("count", [2, 3])
def test_no_gradient_reaches_what_is_dropped(count: int, fill: str) -> None:
    model, inputs = model_of(count, "gated")
    model(inputs, dropped={NAMES[0]: FLAGS}, fill=fill).logits.square().sum().backward()
    for m in NAMES[:count]:
        reached = inputs.values[m].grad.abs().sum(1) > 0
        assert torch.equal(reached, ~FLAGS if m == NAMES[0] else torch.ones(6, dtype=torch.bool))
    model.zero_grad()
    model(inputs, dropped={NAMES[0]: torch.ones(6, dtype=torch.bool)}, fill=fill).logits.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.encoders[NAMES[0]].parameters())
    assert any(p.grad.any() for p in model.encoders[NAMES[1]].parameters())


def test_the_gradient_of_what_is_left_is_that_of_the_formula() -> None:
    """Late-linear: the encoder of a modality gets the sum over the samples that keep it."""
    model, inputs = model_of(2)
    model(inputs, dropped={NAMES[0]: FLAGS}).logits[:, 0].sum().backward()
    found = [p.grad.clone() for p in model.encoders[NAMES[0]].parameters()]
    model.zero_grad()
    (model(inputs).logits[:, 0] * ~FLAGS).sum().backward()
    wanted = [p.grad for p in model.encoders[NAMES[0]].parameters()]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found, wanted, strict=True))


def test_the_mean_is_that_of_the_other_samples_that_have_it() -> None:
    model, inputs = model_of(2)
    features = model.encode(inputs)
    present = torch.tensor([True, True, True, False, True, True])
    made = model.drop(features, {"audio": FLAGS}, "mean", {"audio": present})["audio"]
    rows = features["audio"]
    assert torch.allclose(made[0], rows[[1, 2, 4, 5]].mean(0), atol=1e-6)
    assert torch.allclose(made[2], rows[[0, 1, 4, 5]].mean(0), atol=1e-6)
    assert torch.equal(made[~FLAGS], rows[~FLAGS])


def test_a_batch_of_one_has_no_other_samples() -> None:
    model, _ = model_of(2)
    one = tiny_split(NAMES[:2], n=1).batch(torch.arange(1)).inputs
    outputs = model(one, dropped={"video": torch.tensor([True])}, fill="mean")
    assert not outputs.features["video"].any()
    assert outputs.logits.isfinite().all()


def test_where_nothing_is_dropped_nothing_is_done() -> None:
    model, inputs = model_of(2)
    features = model.encode(inputs)
    assert model.drop(features, {}) is features
    assert torch.equal(model(inputs).logits, model(inputs, dropped={}).logits)


def test_half_precision_and_autocast() -> None:
    model, inputs = model_of(2, "gated")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = model(inputs, dropped={"audio": FLAGS}, fill="mean")
    assert outputs.features["audio"].dtype == torch.bfloat16
    assert outputs.logits.dtype == torch.float32
    assert outputs.logits.isfinite().all()


class Layers(nn.Module):
    """An encoder with tokens (B, 3, 6), of which the last may be padded, and stages (B, 4) and (B, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 4), nn.Linear(4, 6)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        made: Tensor = self.second(self.first(values))
        return made

    def tokens(self, values: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        made = self(values)[:, None] * torch.tensor([1.0, 2.0, 3.0])[:, None]
        mask = torch.ones(len(values), 3, dtype=torch.bool)
        mask[1, 2] = False
        return made, mask

    def stages(self, values: Tensor) -> list[Tensor]:
        return [self.first(values), self.second(self.first(values))]


class Reading(Fusion):
    """A head that reads tokens and stages, and keeps what it has read."""

    reads = ("tokens", "stages")

    def __init__(self) -> None:
        super().__init__()
        self.slices = nn.ModuleDict()
        self.output = nn.Linear(6, 3)
        self.read: dict[str, tuple[Tensor, Tensor, list[Tensor]]] = {}

    def forward(self, features: dict[str, Tensor]) -> Fused:
        total = torch.zeros(())
        for m, x in features.items():
            tokens, mask = features.tokens[m]  # type: ignore[attr-defined]
            self.read[m] = (tokens, mask, features.stages[m])  # type: ignore[attr-defined]
            total = total + x + (tokens * mask[..., None]).sum(1) + self.read[m][2][1]
        return Fused(self.output(total), None)


def reading_model(count: int) -> tuple[MultimodalModel, Inputs]:
    model, inputs = model_of(count)
    torch.manual_seed(0)
    model.encoders = nn.ModuleDict({m: Layers() for m in NAMES[:count]})
    model.fusion = Reading()
    return model, inputs


@pytest.mark.parametrize("fill", ["zero", "mean"])
@pytest.mark.parametrize("count", [2, 3])
def test_tokens_and_stages_are_dropped_with_the_features(count: int, fill: str) -> None:
    model, inputs = reading_model(count)
    outputs = model(inputs, dropped={NAMES[0]: FLAGS}, fill=fill)
    outputs.logits.square().sum().backward()
    for m in NAMES[:count]:
        reached = inputs.values[m].grad.abs().sum(1) > 0
        assert torch.equal(reached, ~FLAGS if m == NAMES[0] else torch.ones(6, dtype=torch.bool))
    encoder, values = model.encoders[NAMES[0]], inputs.values[NAMES[0]]
    tokens, mask, (first, second) = model.fusion.read[NAMES[0]]
    whole, whole_mask = encoder.tokens(values)
    assert torch.equal(mask, whole_mask)
    for made, before in zip((tokens, first, second), (whole, *encoder.stages(values)), strict=True):
        assert torch.equal(made[~FLAGS], before[~FLAGS])
    if fill == "zero":
        assert not any(made[FLAGS].any() for made in (tokens, first, second))
    else:
        others = [1, 2, 3, 4, 5]
        assert torch.allclose(first[0], encoder.stages(values)[0][others].mean(0), atol=1e-6)
        assert torch.allclose(tokens[0, 1], whole[others, 1].mean(0), atol=1e-6)
        assert torch.allclose(tokens[0, 2], whole[[2, 3, 4, 5], 2].mean(0), atol=1e-6)  # one is padded there


def test_tokens_that_an_encoder_lacks_stay_lacking() -> None:
    model, inputs = reading_model(2)
    features = model.encode(inputs)
    made = model.drop(features, {"audio": FLAGS})
    assert "audio" in made.tokens  # type: ignore[attr-defined]
    assert "video" in made.stages  # type: ignore[attr-defined]
    assert made.tokens.get("nothing") is None  # type: ignore[attr-defined]
