"""The properties of fusion heads: those of the harness have them all, and each planted fault fails the right one."""

import re

import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.models.declared import Values
from mcr_bench.bench.models.kinds import fusion_kinds
from mcr_bench.bench.models.own.kinds import head_kind
from mcr_bench.bench.testing.card import Checked, Property, checked
from mcr_bench.bench.testing.nets.cases import Cases
from mcr_bench.bench.testing.nets.head_case import HeadCase
from mcr_bench.bench.testing.nets.heads import PROPERTIES, opened_kind

SHALLOW: dict[str, Values] = {
    "bottleneck-tokens": {"layers": 1},
    "cross-modal": {"layers": 1, "size": 4, "heads": 2},
}
Features = dict[str, Tensor]
Tokens = dict[str, tuple[Tensor, Tensor]]


def card(cls: type[nn.Module], *places: int, properties: tuple[Property[Cases[HeadCase]], ...] = PROPERTIES) -> Checked:
    """The card of a class; places: of these of its cases."""
    of = opened_kind(head_kind(cls, f"./head.py:{cls.__name__}", lambda _: "digest", "./head.py"), {}).of
    return checked(cls.__name__, "fusion", properties, Cases(tuple(of.of[n] for n in places)) if places else of)


def one_property(name: str) -> tuple[Property[Cases[HeadCase]], ...]:
    """The property of that name, alone."""
    return tuple(one for one in PROPERTIES if one.name == name)


def failures(told: Checked) -> dict[str, str]:
    return {one.property: one.reason for one in told.outcomes if one.state == "failed"}


@pytest.mark.parametrize("name", fusion_kinds())
def test_the_heads_of_the_harness_have_every_property(name: str) -> None:
    kind = fusion_kinds()[name]
    of = opened_kind(kind, SHALLOW.get(name, {})).of.of
    some = tuple(case for case in of if len(case.modalities) in (max(1, kind.at_least), 3))
    assert failures(checked(name, "fusion", PROPERTIES, Cases(some))) == {}


class Summed(nn.Module):
    """A sound additive head."""

    additive = True

    def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
        super().__init__()
        self.slices = nn.ModuleDict({m: nn.Linear(width, outputs) for m in modalities})

    def branches(self, features: Features) -> Features:
        return {m: layer(features[m]) for m, layer in self.slices.items()}

    def forward(self, features: Features) -> Tensor:
        return torch.stack(list(self.branches(features).values())).sum(0)


class Mixed(nn.Module):
    """A sound head that is not additive."""

    def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
        super().__init__()
        self.slices = nn.ModuleDict({m: nn.Linear(width, 8) for m in modalities})
        self.out = nn.Linear(8, outputs)

    def forward(self, features: Features) -> Tensor:
        return self.out(torch.tanh(torch.stack([layer(features[m]) for m, layer in self.slices.items()]).sum(0)))


class Attending(nn.Module):
    """A sound head that reads tokens."""

    def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
        super().__init__()
        self.score, self.out = nn.Linear(width, 1), nn.Linear(width, outputs)

    def forward(self, features: Features, tokens: Tokens) -> Tensor:
        values = torch.cat([t for t, _ in tokens.values()], 1)
        mask = torch.cat([m for _, m in tokens.values()], 1)
        share = self.score(values)[..., 0].float().masked_fill(~mask, -torch.inf).softmax(1)
        return self.out((share[..., None] * values).sum(1))


class FromZero(Mixed):
    """A sound head whose logits are 0, and whose second modality has no effect, until it is trained."""

    def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
        super().__init__(modalities, width, outputs)
        for layer in (self.out, *list(self.slices.values())[1:]):
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.out.bias)


class Routing(Summed):
    """A sound head: a sample's logits are those of its most certain modality, which some modality may never be."""

    additive = False

    def forward(self, features: Features) -> Tensor:
        of = torch.stack(list(self.branches(features).values()), 1)
        return of[torch.arange(len(of)), of.softmax(-1).amax(-1).argmax(1)]


class Bare(nn.Module):
    """A sound head without parameters."""

    def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, features: Features) -> Tensor:
        return torch.stack([x[:, : self.outputs] for x in features.values()]).sum(0)


class BareCut(Bare):
    def forward(self, features: Features) -> Tensor:
        return super().forward({m: x.detach() for m, x in features.items()})


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (Routing, "uses-every-modality"),
        (Bare, "saturated-features"),
        (Bare, "uses-every-modality"),
    ],
)
def test_heads_of_others_that_choose_or_learn_nothing_are_sound(cls: type[nn.Module], name: str) -> None:
    assert [one.state for one in card(cls, 0, 3, properties=one_property(name)).outcomes] == ["passed"]


def test_sound_heads_of_others_have_every_property() -> None:
    for cls in (Summed, Mixed, Attending, FromZero):
        assert failures(card(cls, 0, 2)) == {}, cls


class Swapped(Mixed):
    """Each slice is given the features of the next modality."""

    def forward(self, features: Features) -> Tensor:
        names = list(self.slices)
        turned = dict(zip(names, [features[m] for m in names[1:] + names[:1]], strict=True))
        return super().forward(turned)


class Scaled(Summed):
    """The logits are twice the sum of the branches."""

    def forward(self, features: Features) -> Tensor:
        return 2 * super().forward(features)


class Leaking(Summed):
    """A branch is scaled by the weights of another modality."""

    def branches(self, features: Features) -> Features:
        size = sum(layer.weight.square().sum() for layer in self.slices.values())
        return {m: x * size for m, x in super().branches(features).items()}


class Unowned(Summed):
    """Its layers are not in `slices`."""

    def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
        super().__init__(modalities, width, outputs)
        self.layers = self.slices
        del self.slices

    def branches(self, features: Features) -> Features:
        return {m: layer(features[m]) for m, layer in self.layers.items()}


class Joined(nn.Module):
    """One layer over the features in the order in which they come."""

    def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
        super().__init__()
        self.out = nn.Linear(width * len(modalities), outputs)

    def forward(self, features: Features) -> Tensor:
        return self.out(torch.cat(list(features.values()), 1))


class FirstTwo(Mixed):
    """It leaves out what comes after the second modality."""

    def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
        super().__init__(modalities[:2], width, outputs)


class Exponential(Mixed):
    """A softmax over modalities written out."""

    def forward(self, features: Features) -> Tensor:
        hidden = [layer(features[m]) for m, layer in self.slices.items()]
        weight = torch.stack(hidden).exp()
        return self.out((weight / weight.sum(0) * torch.stack(hidden)).sum(0))


class Normed(Mixed):
    def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
        super().__init__(modalities, width, outputs)
        self.out = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, outputs))  # type: ignore[assignment]


class Unmasked(Attending):
    def forward(self, features: Features, tokens: Tokens) -> Tensor:
        return super().forward(features, {m: (t, torch.ones_like(mask)) for m, (t, mask) in tokens.items()})


class Idle(Mixed):
    def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
        super().__init__(modalities, width, outputs)
        self.temperature = nn.Parameter(torch.ones(()))


class Unit(Mixed):
    """Features are scaled to length 1, which those of a dropped modality do not have."""

    def forward(self, features: Features) -> Tensor:
        return super().forward({m: x / x.norm(dim=1, keepdim=True) for m, x in features.items()})


class Counting(Attending):
    """The scores of tokens are divided by their deviation, which a single one does not have."""

    def forward(self, features: Features, tokens: Tokens) -> Tensor:
        count = torch.stack([mask.sum(1) for _, mask in tokens.values()]).amin(0)
        return super().forward(features, tokens) / torch.where(count.max() > 1, 1.0, count - 1.0)[:, None]


class Squeezing(Mixed):
    def forward(self, features: Features) -> Tensor:
        return super().forward(features).squeeze(1)


class Dropping(Mixed):
    def forward(self, features: Features) -> Tensor:
        return super().forward({m: nn.functional.dropout(x, 0.2) for m, x in features.items()})


class Comparing(Mixed):
    def forward(self, features: Features) -> Tensor:
        largest = max(features, key=lambda m: float(features[m].detach().norm()))
        return super().forward({m: x * (1.0 + 0.1 * (m == largest)) for m, x in features.items()})


class Detached(Mixed):
    def forward(self, features: Features) -> Tensor:
        return super().forward({m: x.detach() if m == "video" else x for m, x in features.items()})


class Probable(Mixed):
    def forward(self, features: Features) -> Tensor:
        return super().forward(features).softmax(1)


class LogProbable(Mixed):
    def forward(self, features: Features) -> Tensor:
        return super().forward(features).log_softmax(1)


class Doubling(Mixed):
    def forward(self, features: Features) -> Tensor:
        for x in features.values():
            x *= 2
        return super().forward(features)


class Revealing(Attending):
    """It makes the padding of the first modality real, for whoever reads the mask next."""

    def forward(self, features: Features, tokens: Tokens) -> Tensor:
        given = super().forward(features, tokens)
        for _, mask in tokens.values():
            mask[:] = True
        return given


class Averaging(Attending):
    """Sums over real tokens, divided by how many there are with padding."""

    def forward(self, features: Features, tokens: Tokens) -> Tensor:
        return self.out(torch.stack([(t * mask[..., None]).mean(1) for t, mask in tokens.values()]).sum(0))


class Seeding(Mixed):
    def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
        torch.default_generator.manual_seed(42)
        super().__init__(modalities, width, outputs)


class Listed(Mixed):
    def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
        super().__init__(modalities, width, outputs)
        self.layers = [nn.Linear(outputs, outputs)]

    def forward(self, features: Features) -> Tensor:
        return self.layers[0](super().forward(features))


class Pair(Mixed):
    def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
        first, second = modalities
        super().__init__([first, second], width, outputs)


FAULTS: dict[type[nn.Module], tuple[str, str]] = {
    Detached: ("uses-every-modality", "no gradient of the logits reaches the encoder of video"),
    Probable: ("logits", "numbers from 0 to 1: probabilities"),
    BareCut: ("uses-every-modality", "no gradient of the logits reaches the encoder of audio"),
    Doubling: ("features-kept", "it writes to the features, tokens or masks"),
    Revealing: ("features-kept", "it writes to the features, tokens or masks"),
    Averaging: ("reads", "the logits change with the number of tokens that the mask leaves out"),
    Seeding: ("seeded-weights", "its constructor seeds the random state of torch"),
    Listed: ("usable", "attribute 'layers' holds layers or tensors that torch does not know of"),
    Pair: ("usable", "too many values to unpack"),
    Swapped: ("owners", r"of `slices\['audio'\]` are fed by .*, not by 'audio'"),
    Scaled: ("additive", "the sum of its branches is not its logits"),
    Leaking: ("additive", "the gradient of the branch of 'audio' reaches 'head.slices.video"),
    Unowned: ("owners", "'head.layers.audio.weight' is fed by 'audio' alone, but belongs to no modality"),
    Joined: ("order-of-modalities", "the logits depend on the order of the modalities"),
    FirstTwo: ("uses-every-modality", "do not depend on text"),
    Exponential: ("saturated-features", "for features times 10,000 it gave"),
    Normed: ("batch-of-one", "Expected more than 1 value per channel"),
    Unmasked: ("reads", "the logits change with tokens that the mask leaves out"),
    Idle: ("reached", "the optimiser never moves 'head.temperature'"),
    Unit: ("absent-modality", "where every sample lacks 'audio', in evaluation it gave"),
    Counting: ("one-step", "for a sample of one real step it gave"),
    Squeezing: ("number-of-outputs", r"for a task with 1 outputs it gave \(3,\)"),
    Dropping: ("deterministic", "other outputs at the second call"),
    Comparing: ("no-waiting", "wait for the device"),
}


@pytest.mark.parametrize("cls", FAULTS, ids=lambda cls: cls.__name__)
def test_a_planted_fault_fails_its_property(cls: type[nn.Module]) -> None:
    name, reason = FAULTS[cls]
    told = failures(card(cls, 2, properties=one_property(name)))  # over three modalities
    assert name in told, told
    assert re.search(reason, told[name]), told


def test_a_fault_fails_no_other_property_that_it_leaves_alone() -> None:
    for cls in (Scaled, Leaking, Unowned, Joined, Normed, Idle):
        assert failures(card(cls, 1)).keys() == {FAULTS[cls][0]}, cls


def test_logarithms_of_probabilities_are_logits_too() -> None:
    assert failures(card(LogProbable, 1)) == {}


def test_an_order_that_matters_can_be_declared() -> None:
    declared = card(type("Declared", (Joined,), {"ordered": True}), 1)
    assert failures(declared) == {}


def test_a_head_is_checked_over_the_numbers_of_modalities_that_it_joins() -> None:
    pair = type("Pair", (Mixed,), {"at_least": 2, "at_most": 3})
    kind = head_kind(pair, "./head.py:Pair", lambda _: "digest", "./head.py")
    assert [len(case.modalities) for case in opened_kind(kind, {}).of.of] == [2, 3]


def test_the_card_tells_what_a_head_costs_without_the_encoders() -> None:
    kind = head_kind(Mixed, "./head.py:Mixed", lambda _: "digest", "./head.py")
    notes = dict(opened_kind(kind, {}).notes())
    # for each modality 6 -> 8, then 8 -> 3; two operations for each weight
    told = (
        f"{3 * (6 * 8 + 8) + 8 * 3 + 3:,} parameters, {2 * (3 * 6 * 8 + 8 * 3):,} floating-point operations per sample"
    )
    assert notes["cost over 3 modalities"] == told
