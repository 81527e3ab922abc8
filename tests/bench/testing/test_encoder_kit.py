"""The properties of encoders: those of the harness have them all, and each planted fault fails the right one."""

import os
import re
from collections.abc import Callable
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mcr_bench.bench.models.kinds import encoder_kinds
from mcr_bench.bench.models.own.kinds import net_kind
from mcr_bench.bench.testing.card import Checked, Property, checked
from mcr_bench.bench.testing.nets.cases import Cases
from mcr_bench.bench.testing.nets.encoder_case import EncoderCase
from mcr_bench.bench.testing.nets.encoders import PROPERTIES, opened, opened_kind

OURS = [name for name, kind in encoder_kinds().items() if not kind.extra]
SMALL = {"width": 4, "depth": 2}


def card(
    cls: type[nn.Module], only: int | None = None, properties: tuple[Property[Cases[EncoderCase]], ...] = PROPERTIES
) -> Checked:
    """The card of a class; only: of one of its cases."""
    of = opened_kind(net_kind(cls, f"./net.py:{cls.__name__}", lambda _: "digest", "./net.py"), {}).of
    return checked(cls.__name__, "encoder", properties, of if only is None else Cases((of.of[only],)))


def one_property(name: str) -> tuple[Property[Cases[EncoderCase]], ...]:
    """The property of that name, alone."""
    return tuple(one for one in PROPERTIES if one.name == name)


def failures(told: Checked) -> dict[str, str]:
    return {one.property: one.reason for one in told.outcomes if one.state == "failed"}


@pytest.mark.parametrize("name", OURS)
def test_the_encoders_of_the_harness_have_every_property(name: str) -> None:
    of = opened_kind(encoder_kinds()[name], SMALL).of
    last = Cases(of.of[-1:])  # the padded samples, where it takes any
    assert failures(checked(name, "encoder", PROPERTIES, last if name == "resnet18" else of)) == {}


class Vector(nn.Module):
    """A sound net of vectors."""

    axes = (1,)

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(shape[-1], 8), nn.Linear(8, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(x)))


class Steps(nn.Module):
    """A sound net of padded sequences, with tokens."""

    axes = (2,)

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.gru = nn.GRU(shape[-1], width, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        steps, own = self.tokens(x, lengths)
        weight = own[..., None].to(steps)
        return (steps * weight).sum(1) / weight.sum(1)

    def tokens(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        steps, _ = self.gru(x)
        ends = torch.full((len(x),), x.shape[1], device=x.device) if lengths is None else lengths
        return steps, torch.arange(x.shape[1], device=x.device) < ends[:, None]


class Long(nn.Module):
    """A sound net of padded sequences: torch's LSTM, or its transformer, whose evaluation has kernels of its own."""

    axes, inner = (2,), "LSTM"

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, 0.1, batch_first=True)
        self.into, self.out = nn.Linear(shape[-1], 8), nn.Linear(8, width)
        self.inside = nn.LSTM(8, 8, batch_first=True) if self.inner == "LSTM" else nn.TransformerEncoder(layer, 1)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        ends = torch.full((len(x),), x.shape[1], device=x.device) if lengths is None else lengths
        own = torch.arange(x.shape[1], device=x.device) < ends[:, None]
        given = self.inside(self.into(x)) if self.inner == "LSTM" else self.inside(self.into(x), None, ~own)
        steps = given[0] if isinstance(given, tuple) else given
        return self.out((steps * own[..., None]).sum(1) / own.sum(1, keepdim=True))


class Attending(Long):
    inner = "transformer"


class Cutting(nn.Module):
    """A sound net without parameters."""

    axes = (1,)

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        return x[:, : self.width]


@pytest.mark.parametrize("cls", [Vector, Steps, Long, Attending, Cutting])
def test_sound_nets_of_others_have_every_property(cls: type[nn.Module]) -> None:
    assert failures(card(cls)) == {}


class WeightNormed(nn.Module):
    """A sound net, in which torch's GRU keeps a list of the weights that were there before the norm."""

    axes = (2,)

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.steps = nn.utils.parametrizations.weight_norm(nn.GRU(shape[-1], width, batch_first=True), "weight_hh_l0")

    def forward(self, x: Tensor) -> Tensor:
        return self.steps(x)[0][:, -1]


class Placed(Steps):
    """A sound net that makes the places of steps when it needs them, and keeps them in no checkpoint."""

    places: Tensor | None

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__(shape, width)
        self.register_buffer("places", None, persistent=False)

    def tokens(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.places is None or len(self.places) < x.shape[1]:
            self.places = torch.arange(x.shape[1], device=x.device).cos()[:, None]
        steps, own = super().tokens(x, lengths)
        return steps + self.places[: x.shape[1]], own


class FrozenTokens(Steps):
    """A sound net with tokens of a frozen layer, whose features are learned from them."""

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__(shape, width)
        self.requires_grad_(False)
        self.learned = nn.Linear(width, width)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.learned(super().forward(x, lengths))


@pytest.mark.parametrize(
    ("cls", "name"),
    [(WeightNormed, "usable"), (Placed, "usable"), (Placed, "state"), (FrozenTokens, "tokens-and-stages")],
)
def test_what_sound_nets_of_others_keep_make_or_freeze_is_not_refused(cls: type[nn.Module], name: str) -> None:
    assert [one.state for one in card(cls, 0, one_property(name)).outcomes] == ["passed"]


def of_anything(cls: type[nn.Module]) -> type[nn.Module]:
    """The class without `axes`."""
    return type(cls.__name__, (cls,), {"axes": tuple(range(1, 9))})


def test_a_net_that_declares_no_axes_is_checked_on_what_it_takes() -> None:
    told = opened_kind(net_kind(of_anything(Steps), "./net.py:Steps", lambda _: "digest", "./net.py"), {}).of
    assert [case.modalities["first"].shape for case in told.of] == [(16, 3), (16, 3)]


class Noisy(Vector):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1e-3 * torch.randn(len(x), 1, device=x.device)


class Counting(Vector):
    """Its output changes from call to call."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x) * (1 + 0.1 * self.calls)


class Centred(Vector):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(0))


class Normed(Vector):
    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__(shape, width)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(super().forward(x))


class Idle(Vector):
    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__(shape, width)
        self.spare = nn.Linear(3, 3)


class Cut(Vector):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(x)).detach())


class Remembering(Vector):
    """What it has learned of the inputs' mean is a plain attribute."""

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__(shape, width)
        self.mean: Tensor | float = 0.0

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return super().forward(x - self.mean)


class Drifting(Vector):
    """It counts evaluated samples in a buffer."""

    seen: Tensor

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__(shape, width)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return super().forward(x)


class Unseeded(Vector):
    """Every new one has other weights, whatever the seed."""

    made: ClassVar[int] = 0

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__(shape, width)
        Unseeded.made += 1
        nn.init.normal_(self.last.weight, generator=torch.Generator().manual_seed(Unseeded.made))


class Copying(Vector):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / (1.0 + float(x.detach().abs().max().cpu()))


class Rooted(Vector):
    """Distances between features, each also to itself, where the root has no slope."""

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        distances = (hidden[:, :, None] - hidden[:, None]).square().sqrt()
        return super().forward(x) + distances.mean((1, 2))[:, None]


class Rounded(Vector):
    def forward(self, x: Tensor) -> Tensor:
        return (super().forward(x) + 300.0) - 300.0


class OfOneType(Vector):
    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros(len(x), 8, device=x.device)
        total.index_add_(0, torch.arange(len(x), device=x.device), self.first(x))
        return self.last(torch.tanh(total))


class Exporting(Vector):
    def forward(self, x: Tensor) -> Tensor:
        os.environ["PLANTED_FLAG"] = str(len(os.environ.get("PLANTED_FLAG", "")) * "1" + "1")
        return super().forward(x)


class Replacing(Vector):
    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__(shape, width)
        F.elu = lambda x: x  # type: ignore[assignment]


class Fixed(Vector):
    def forward(self, x: Tensor) -> Tensor:
        count = len(x) if len(x) in (1, 3) else 8
        return super().forward(x.repeat(8, 1)[:count])


class Unmasked(Steps):
    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.tokens(x)[0].mean(1)


class AllReal(Steps):
    """Its mask calls padded steps real."""

    def tokens(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return super().tokens(x)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        steps, real = Steps.tokens(self, x, lengths)
        return (steps * real[..., None]).sum(1) / real.sum(1, keepdim=True)


class Packed(Steps):
    """The last state of a recurrent net that is given real steps alone; torch wants their lengths on the host."""

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if lengths is None:
            return self.gru(x)[1][-1]
        ends = lengths.cpu()
        packed = nn.utils.rnn.pack_padded_sequence(x, ends, batch_first=True, enforce_sorted=False)
        return self.gru(packed)[1][-1]


class PackedForAReason(Packed):
    waits = "pack_padded_sequence needs lengths on the host"


class NotWaiting(Steps):
    waits = "it is slow"


class Deviating(Steps):
    """Steps are divided by their deviation over time, which a single step does not have."""

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        steps, own = self.tokens(x, lengths)
        weight = own[..., None].to(steps)
        count = weight.sum(1)
        mean = (steps * weight).sum(1) / count
        spread = ((steps - mean[:, None]).square() * weight).sum(1) / (count - 1).clamp(min=0)
        return torch.where(count.sum() > len(x), mean, mean / spread)


class Unit(Vector):
    """Samples are scaled to length 1, which those of zeros do not have."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x / x.norm(dim=1, keepdim=True))


class Wide(Vector):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:, :3]


class Writing(Vector):
    """The second pass over the same samples finds them as the first one has left them."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.clamp_(-1, 1))


class Seeding(Vector):
    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        torch.default_generator.manual_seed(42)
        super().__init__(shape, width)


class SeedingEachPass(Vector):
    def forward(self, x: Tensor) -> Tensor:
        torch.default_generator.manual_seed(42)
        return super().forward(F.dropout(x, 0.1, self.training))


class Switching(Vector):
    """The second net that is made changes nothing more."""

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__(shape, width)
        torch.backends.cudnn.benchmark = True
        os.environ["PLANTED_FLAG"] = "false"


class Clipping(Vector):
    """A second pass in evaluation finds the weights clipped."""

    def forward(self, x: Tensor) -> Tensor:
        self.first.weight.data.clamp_(-0.1, 0.1)
        return super().forward(x)


class Listed(Vector):
    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__(shape, width)
        self.between = {"layers": [nn.Linear(8, 8)]}

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.between["layers"][0](self.first(x))))


class MadeLate(Vector):
    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "between"):
            self.between = nn.Linear(8, 8)
        return self.last(torch.tanh(self.between(self.first(x))))


class OfTheClass(Vector):
    between: nn.Module | None = None

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__(shape, width)
        OfTheClass.between = OfTheClass.between or nn.Linear(8, 8)
        self.shared = OfTheClass.between

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.shared(self.first(x))))


class CutTokens(Steps):
    def tokens(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        steps, own = super().tokens(x, lengths)
        return steps.detach(), own

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        steps, own = Steps.tokens(self, x, lengths)
        return (steps * own[..., None]).sum(1) / own.sum(1, keepdim=True)


class StagesOfTheBatch(Vector):
    def stages(self, x: Tensor) -> list[Tensor]:
        hidden = self.first(x)
        return [hidden - hidden.mean(0)]


class DroppedStages(Vector):
    def stages(self, x: Tensor) -> list[Tensor]:
        return [F.dropout(self.first(x))]


FAULTS: dict[type[nn.Module], tuple[str, str]] = {
    Writing: ("inputs-kept", "it writes to the samples"),
    Seeding: ("seeded-weights", "its constructor seeds the random state of torch"),
    SeedingEachPass: ("no-draws", "a pass seeds the random state of torch"),
    Switching: ("leaves-no-trace", "cuDNN and oneDNN is now .*PLANTED_FLAG is now 'false', not unset"),
    Clipping: ("evaluation-keeps-state", "changed 'net.first.weight'"),
    Listed: ("usable", "attribute 'between' holds layers or tensors that torch does not know of"),
    MadeLate: ("usable", "its forward makes 'between.bias'"),
    OfTheClass: ("usable", "parameter 'shared.weight' is shared by all nets"),
    CutTokens: ("tokens-and-stages", "no gradient comes back through its tokens"),
    StagesOfTheBatch: ("tokens-and-stages", "other tokens or stages alone than beside others"),
    DroppedStages: ("tokens-and-stages", "other tokens or stages at the second call"),
    Noisy: ("no-draws", "moved the random state of torch"),
    Counting: ("deterministic", "other outputs at the second call"),
    Centred: ("independent-samples", "a sample alone gives other outputs than beside others"),
    Normed: ("batch-of-one", "Expected more than 1 value per channel"),
    Idle: ("reached", "the optimiser never moves 'net.spare.weight', 'net.spare.bias'"),
    Cut: ("reached", "never moves 'net.first.weight', 'net.first.bias'"),
    Remembering: ("state", "restored from the state dict of a trained one gives other outputs"),
    Drifting: ("evaluation-keeps-state", "changed 'net.seen'"),
    Unseeded: ("seeded-weights", "the same seed gave other initial values of 'encoders.first.net.last.weight'"),
    Copying: ("no-waiting", "wait for the device: _to_copy between host and device"),
    Rooted: ("finite-gradients", "the gradient of 'net.first.weight' has"),
    Rounded: ("bf16", "under bfloat16 outputs are off by"),
    OfOneType: ("bf16", "self .Float. and source .BFloat16. must have the same"),
    Exporting: ("leaves-no-trace", "the environment variable PLANTED_FLAG is now"),
    Fixed: ("shapes", r"it gave \(8, 6\) for 2 samples"),
    Unmasked: ("padding", "change with the number of padded steps behind them"),
    AllReal: ("padding", "real tokens with padding"),
    Packed: ("no-waiting", "wait for the device: _to_copy"),
    NotWaiting: ("no-waiting", "it states waits = 'it is slow', but nothing in a step waits"),
    Deviating: ("one-step", "for a sample of one real step it gave"),
    Unit: ("absent-modality", "for samples that are all 0, in evaluation it gave"),
    Wide: ("usable", r"forward gave a tensor \(3, 3\)"),
}


@pytest.mark.parametrize("cls", FAULTS, ids=lambda cls: cls.__name__)
def test_a_planted_fault_fails_its_property(cls: type[nn.Module]) -> None:
    name, reason = FAULTS[cls]
    told = failures(card(cls, -1 if issubclass(cls, Steps) else 0, one_property(name)))
    assert name in told, told
    assert re.search(reason, told[name]), told


def test_a_replaced_function_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "elu", F.elu)  # put back afterwards
    told = failures(card(Replacing, only=0))
    assert told.keys() == {"leaves-no-trace"}
    assert "torch.nn.functional.elu is not what it was" in told["leaves-no-trace"]


def test_a_fault_fails_no_other_property_that_it_leaves_alone() -> None:
    for cls in (Centred, Normed, Idle, Cut, Remembering, Rounded):
        assert failures(card(cls, only=0)).keys() == {FAULTS[cls][0]}, cls


def test_a_net_that_is_told_no_lengths_is_not_blamed_for_padding() -> None:
    class Untold(nn.Module):
        axes = (2,)

        def __init__(self, shape: tuple[int, ...], width: int) -> None:
            super().__init__()
            self.layer = nn.Linear(shape[-1], width)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.mean(1))

    (padding,) = [one for one in card(Untold).outcomes if one.property == "padding"]
    assert padding.state == "not applicable"
    blamed = card(type("Declared", (Untold,), {"padded": True}))
    assert "padding" in failures(blamed)


def test_examples_are_the_shapes_that_a_net_is_checked_on() -> None:
    class Large(Vector):
        examples = ((40,), (7,))

    kind = net_kind(Large, "./net.py:Large", lambda _: "digest", "./net.py")
    assert [case.modalities["first"].shape for case in opened_kind(kind, {}).of.of] == [(40,), (7,)]


def test_the_card_tells_what_an_encoder_costs() -> None:
    notes = dict(opened("mlp").notes())
    # 12 -> 64 -> 6 with biases; two operations for each weight
    told = f"{12 * 64 + 64 + 64 * 6 + 6:,} parameters, {2 * (12 * 64 + 64 * 6):,} floating-point operations per sample"
    assert notes["cost on samples (12,)"] == told


def test_a_net_that_states_why_it_waits_is_sound() -> None:
    told = card(PackedForAReason)
    assert failures(told) == {}
    (waiting,) = [one for one in told.outcomes if one.property == "no-waiting"]
    assert waiting.state == "not applicable"
    assert waiting.reason == "it states why it waits: pack_padded_sequence needs lengths on the host"


class Recurrent(nn.Module):
    """A recurrent net of some class, and what comes after it."""

    axes, examples = (2,), ((7, 3),)
    made: ClassVar[Callable[[], nn.Module]]

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.inner = type(self).made()

    def forward(self, x: Tensor) -> Tensor:
        given = self.inner(x)
        return (given[0] if isinstance(given, tuple) else given).mean(1)[:, :6]


ONE_WAY, TWO_WAYS = 8 * 3 + 8 * 8, 2 * (8 * 3 + 8 * 8) + 2 * (8 * 16 + 8 * 8)  # weights of a gate; of two layers
RECURRENT: dict[str, tuple[Callable[[], nn.Module], int]] = {  # 7 steps, two operations for each weight
    "LSTM": (lambda: nn.LSTM(3, 8, batch_first=True), 7 * 2 * 4 * ONE_WAY),
    "GRU": (lambda: nn.GRU(3, 8, batch_first=True), 7 * 2 * 3 * ONE_WAY),
    "RNN": (lambda: nn.RNN(3, 8, batch_first=True, bias=False), 7 * 2 * ONE_WAY),
    "two layers of LSTM in both directions": (
        lambda: nn.LSTM(3, 8, 2, batch_first=True, bidirectional=True),
        7 * 2 * 4 * TWO_WAYS,
    ),
    "two layers of GRU in both directions": (
        lambda: nn.GRU(3, 8, 2, batch_first=True, bidirectional=True),
        7 * 2 * 3 * TWO_WAYS,
    ),
    "LSTM with a projection": (
        lambda: nn.LSTM(3, 8, proj_size=6, batch_first=True),
        7 * 2 * (4 * (8 * 3 + 8 * 6) + 8 * 6),
    ),
    # 7 steps by 6: three projections in and one out, 2 heads of 3 x (7 x 7), twice, and two layers of 6 by 10
    "attention": (
        lambda: nn.Sequential(
            nn.Linear(3, 6, bias=False), nn.TransformerEncoderLayer(6, 2, 10, dropout=0.0, batch_first=True)
        ),
        2 * 7 * 3 * 6 + 2 * 7 * 4 * 36 + 2 * 2 * 7 * 7 * 6 + 2 * 7 * 2 * 60,
    ),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_operations_of_recurrent_nets_and_of_attention_are_counted(name: str) -> None:
    made, count = RECURRENT[name]
    cls = type("Own", (Recurrent,), {"made": staticmethod(made)})
    notes = opened_kind(net_kind(cls, "./net.py:Own", lambda _: "digest", "./net.py"), {}).notes()
    assert notes[0][1].endswith(f" parameters, {count:,} floating-point operations per sample")


def test_cells_of_recurrent_nets_are_counted_step_by_step() -> None:
    class Cells(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.long, self.gated, self.plain = nn.LSTMCell(3, 8), nn.GRUCell(8, 8), nn.RNNCell(8, 6)

        def forward(self, x: Tensor) -> Tensor:
            steps = [self.plain(self.gated(self.long(step)[0])) for step in x.unbind(1)]
            return torch.stack(steps, 1)

    cls = type("Own", (Recurrent,), {"made": staticmethod(Cells)})
    notes = opened_kind(net_kind(cls, "./net.py:Own", lambda _: "digest", "./net.py"), {}).notes()
    count = 7 * 2 * (4 * 8 * (3 + 8) + 3 * 8 * (8 + 8) + 6 * (8 + 6))
    assert f" {count:,} floating-point operations" in notes[0][1]


def test_what_cannot_be_counted_is_named() -> None:
    class Spectral(Vector):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(torch.fft.fft(x).abs() + torch.cdist(x, x).sum())

    kind = net_kind(Spectral, "./net.py:Spectral", lambda _: "digest", "./net.py")
    assert re.search(
        f" {2 * (12 * 8 + 8 * 6)} floating-point operations per sample without .*fft.*, .*cdist.*, which cannot",
        opened_kind(kind, {}).notes()[0][1],
    )
