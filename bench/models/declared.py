"""One declaration per kind of encoder and per fusion head: everything that the rest of the harness knows of it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from torch import nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.fusion import Fusion
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.settings.declaration import Declared, Value, build, declared, resolve
from mcr_bench.bench.settings.training import EncoderSettings, ModelSettings

T = TypeVar("T")
Values = Mapping[str, Value]
Sizes = Mapping[str, tuple[int, ...]]
SIZES = ("width", "depth", "dropout")  # what every encoder of the harness has
OF_WEIGHTS = ("weights", "layers", "frozen")  # what those have that come with pre-trained weights
OF_WINDOWS = ("window", "stride", "pixels", "bins")  # what the kind of position-wise windows has
ANY = (1, 2, 3, 4)
AXES = {1: "(D,)", 2: "(T, C)", 3: "(C, H, W)", 4: "(T, C, H, W)"}


@dataclass(frozen=True, eq=False)
class EncoderKind:
    """One kind of encoder, as `encoder.kind` names it.

    name: as in `encoder.kind=conv1d`; of a file its path and class, `./my_net.py:Net`.
    about: one line for lists and cards.
    make: (the modality, the width d of the features, settings) -> a module, values (B, ...) -> features (B, d).
    axes: how many axes a sample may have, without the batch axis.
    padded: the same for samples that are padded to one length.
    auto: numbers of axes for which `encoder.kind=auto` is this kind.
    auto_padded: the same for padded samples.
    takes: whether it takes samples of this shape, beyond their number of axes.
    ids: whether it takes ids of words (`Modality.vocabulary`), and nothing else; others take none.
    settings: its settings by name.
    tokens: whether it gives features of parts of a sample, (B, T, d) with a mask (B, T).
    stages: whether it gives the outputs of its stages.
    extra: the optional part of mcr-bench that it needs, '' for none.
    library: the package that this part brings.
    digest: of the behaviour of a net that does not come with the harness; '' for those that do.
    origin: where a net that does not come with the harness is from.
    sees_padding: whether it may be given padded samples, but is not told their lengths.
    channels_last: whether its weights and images may be laid out with the channels last, where that is faster.
    examples: shapes of samples on which it is checked; () for shapes of the usual sizes.
    waits: why it makes the host wait for a GPU in every step; '' where it does not.
    check: raises UserError where a net that does not come with the harness does not do what it must.
    """

    name: str
    about: str
    make: Callable[[Modality, int, Values], nn.Module]
    axes: tuple[int, ...]
    padded: tuple[int, ...] = ()
    auto: tuple[int, ...] = ()
    auto_padded: tuple[int, ...] = ()
    takes: Callable[[Modality], bool] = lambda _: True
    ids: bool = False
    settings: Mapping[str, Declared] = field(default_factory=dict)
    tokens: bool = False
    stages: bool = False
    extra: str = ""
    library: str = ""
    digest: str = ""
    origin: str = ""
    sees_padding: bool = False
    channels_last: bool = False
    examples: tuple[tuple[int, ...], ...] = ()
    waits: str = ""
    check: Callable[[Modality, int, Values], None] = lambda *_: None

    def fits(self, modality: Modality) -> bool:
        """Whether it takes such samples."""
        axes = self.padded if modality.padded else self.axes
        return len(modality.shape) in axes and self.ids == (modality.vocabulary > 0) and self.takes(modality)

    def stands_for_auto(self, modality: Modality) -> bool:
        """Whether `auto` means this kind for such samples."""
        return len(modality.shape) in (self.auto_padded if modality.padded else self.auto)


@dataclass(frozen=True, eq=False)
class FusionKind:
    """One fusion head, as `model.fusion` names it.

    name: as in `model.fusion=gated`; of a file its path and class, `./my_head.py:Head`.
    about: one line for lists and cards.
    make: (modalities, width d of the features, number of outputs C, settings) -> the head.
    additive: whether its logits are a sum of one branch per modality.
    reads: what of "tokens" and "stages" it reads of every encoder. Of a head that does not come with the harness: what
        its `forward` takes, and may leave unread.
    make_on: makes a head whose layers depend on the encoders' stages, instead of `make`: (modality -> channels K of
        every stage as one vector, d, C, settings) -> the head.
    reference: the publication that it comes from.
    deviations: in what it differs from the reference, one sentence each.
    settings: its settings by name.
    at_least, at_most: how many modalities it joins. A single one that is too few goes through late-linear, so that
        unimodal runs can stand beside runs with this head.
    ordered: whether the first modality has a part of its own, so that the order of the modalities matters.
    extra, library, digest, origin, waits: as of `EncoderKind`.
    check: (the encoders' kinds and settings by modality, their modalities, d, C, settings) -> what the head asks of the
        encoders beyond their features ("tokens", "stages"); UserError where it does not do what it must.
    """

    name: str
    about: str
    make: Callable[[list[str], int, int, Values], Fusion]
    additive: bool = False
    reads: tuple[str, ...] = ()
    make_on: Callable[[Sizes, int, int, Values], Fusion] | None = None
    reference: str = ""
    deviations: tuple[str, ...] = ()
    settings: Mapping[str, Declared] = field(default_factory=dict)
    at_least: int = 1
    at_most: int = 99
    ordered: bool = False
    extra: str = ""
    library: str = ""
    digest: str = ""
    origin: str = ""
    waits: str = ""
    check: Callable[["Mapping[str, Encoder]", Mapping[str, Modality], int, int, Values], frozenset[str]] = lambda *_: (
        frozenset()
    )


@dataclass(frozen=True)
class Encoder:
    """An encoder as it is chosen for a modality.

    kind: its kind.
    values: the values of its settings.
    """

    kind: EncoderKind
    values: Values


@dataclass(frozen=True)
class Head:
    """A fusion head as it is chosen.

    kind: its kind.
    width: the width d of the features (B, d) that it joins.
    values: the values of its settings.
    """

    kind: FusionKind
    width: int
    values: Values


def settings_of(cls: type, names: Iterable[str]) -> dict[str, Declared]:
    """Some of the settings that a settings class declares, by name."""
    known = declared(cls)
    return {name: known[name] for name in names}


def encoder_settings(*names: str) -> dict[str, Declared]:
    """Settings that encoders of the harness share, by name."""
    return settings_of(EncoderSettings, names)


def head_settings(*names: str) -> dict[str, Declared]:
    """Settings that fusion heads of the harness share, by name."""
    return settings_of(ModelSettings, names)


def as_settings(cls: type[T], values: Values) -> T:
    """A head's own settings class from the values that a head is made with; others of these are left out."""
    return build(cls, {key: value for key, value in values.items() if key in declared(cls)})


def as_encoder_settings(values: Values) -> EncoderSettings:
    """The settings of an encoder of the harness, defaults for those that it does not have."""
    return EncoderSettings(**resolve(EncoderSettings, dict(values), "encoder."))  # type: ignore[arg-type]


def installation(extra: str) -> str:
    """The command that installs an optional part of mcr-bench."""
    return f"pip install 'mcr-bench[{extra}]'"


def described(modality: Modality) -> str:
    """Samples of a modality in words."""
    padded = "padded " if modality.padded else ""
    ids = f" with {modality.vocabulary:,} ids of words" if modality.vocabulary else ""
    return f"{padded}samples of shape {modality.shape}{ids}"


def no_kind_takes(modality: Modality) -> UserError:
    """An error for samples that no encoder of the harness takes."""
    return UserError(
        f"no encoder takes {described(modality)}. Samples may be (D,), (T, C), (C, H, W) or (T, C, H, W), "
        "padded ones (T, C) or (T, C, H, W); reshape the data, or give an encoder of your own: "
        "encoder.MODALITY.kind=./my_net.py:Net."
    )
