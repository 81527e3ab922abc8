"""Settings of training and of the model: what `--set epochs=5`, `optimizer.lr=...` and `encoder.width=...` mean."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from mcr_bench.bench.settings.declaration import Space, setting

BELOW_ONE = 0.99999  # the decays of adam have to be below 1
LARGEST_FACTOR = 1e6  # of a learning rate or a period
ADAMS = ("adam", "adamw")
MOST_SAMPLES = 1_000_000_000  # of a step: larger ones do not fit into the counters of PyTorch
BUDGET = ("epochs", "patience")  # the settings that limit how long a run may train


@dataclass(frozen=True)
class OptimizerSettings:
    """The optimiser, `optimizer.*`: its name and its hyper-parameters."""

    name: Literal["adam", "adamw", "sgd"] = setting("adam", "optimiser", origin="MCR code")
    lr: float = setting(
        1e-3,
        "learning rate",
        origin="MCR code, CREMA-D ResNet baselines",
        at_least=0,
        space=Space(1e-4, 1e-2, log=True),
    )
    weight_decay: float = setting(
        1e-4,
        "weight decay: coupled for adam and sgd, decoupled for adamw",
        origin="MCR code",
        at_least=0,
        space=Space(1e-6, 1e-2, log=True),
    )
    momentum: float = setting(
        0.9, "momentum of sgd", origin="OGM-GE code", at_least=0, at_most=1, acts_with=("name", ("sgd",))
    )
    beta1: float = setting(
        0.9, "first-moment decay of adam", origin="MCR code", at_least=0, at_most=BELOW_ONE, acts_with=("name", ADAMS)
    )
    beta2: float = setting(
        0.999,
        "second-moment decay of adam",
        origin="MCR code",
        at_least=0,
        at_most=BELOW_ONE,
        acts_with=("name", ADAMS),
    )
    eps: float = setting(
        1e-7,
        "epsilon of adam and adamw (the MCR code has 1e-8 for adamw)",
        origin="MCR code",
        at_least=0,
        acts_with=("name", ADAMS),
    )


@dataclass(frozen=True)
class ScheduleSettings:
    """The learning-rate schedule, `schedule.*`."""

    name: Literal["constant", "cosine", "step", "warm-restarts"] = setting(
        "constant",
        "learning rate during the run; cosine: falls to 0 at the last epoch; step: multiplied by `factor` every `every`"
        " epochs; warm-restarts: as in the MCR code, constant for `warmup` steps, then a cosine whose periods are "
        "counted from the run's first step: the first has `first` steps, each later one `factor` times as many",
    )
    warmup: int = setting(
        0,
        "number of steps: of linear warm-up for cosine and step, of the constant phase for warm-restarts",
        at_least=0,
        acts_with=("name", ("cosine", "step", "warm-restarts")),
    )
    every: int = setting(
        70, "step: number of epochs between drops", origin="OGM-GE code", at_least=1, acts_with=("name", ("step",))
    )
    factor: float = setting(
        0.1,
        "step: what the rate is multiplied by at a drop; warm-restarts: growth of the period (MCR paper: 2)",
        origin="OGM-GE code",
        at_least=0,
        at_most=LARGEST_FACTOR,
        acts_with=("name", ("step", "warm-restarts")),
    )
    first: int = setting(
        4,
        "warm-restarts: number of steps of the first period",
        origin="MCR code",
        at_least=1,
        acts_with=("name", ("warm-restarts",)),
    )


@dataclass(frozen=True)
class TrainingSettings:
    """How a run is trained: the keys of `--set` without a prefix.

    optimizer: the settings of the optimiser, `optimizer.*`.
    schedule: the settings of the learning-rate schedule, `schedule.*`.
    """

    epochs: int = setting(50, "largest number of epochs", at_least=0)
    patience: int = setting(
        20, "stop after this many epochs without a better validation value; 0 = never stop early", at_least=0
    )
    patience_from: Literal["after", "best"] = setting(
        "after", "which epochs patience counts; after: those after the best one; best: the best one too (MCR code)"
    )
    batch_size: int = setting(64, "samples per step", at_least=1, at_most=MOST_SAMPLES)
    monitor: str = setting(
        "auto",
        "validation metric that selects the best epoch; auto: the protocol's metric; total_loss: the loss plus the "
        "losses of the own heads that the method trains, weighted as in training",
    )
    ties: Literal["loss", "first"] = setting(
        "loss",
        "which epoch is best of several with the same value of the monitor; loss: the one with the lower validation "
        "loss; first: the first one (MCR code)",
    )
    clip_norm: float = setting(
        0.0, "largest norm of the gradient, clipped after the method has changed it; 0 = no clipping", at_least=0
    )
    precision: Literal["fp32", "tf32", "bf16"] = setting(
        "fp32",
        "arithmetic of the model; fp32: full precision on every device; tf32: on a GPU, matrix products and "
        "convolutions with inputs rounded to TF32 (on the CPU the same as fp32); bf16: torch's autocast to bfloat16",
    )
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)


@dataclass(frozen=True)
class EncoderSettings:
    """The encoder, `encoder.*` for every modality; `encoder.MODALITY.key` sets one modality's alone."""

    kind: str = setting(
        "auto",
        "an encoder (`mcr-bench list encoders`), or the file of a net of your own, ./my_net.py:Net; "
        "auto: mlp for (D,), conv1d for (T, C), transformer for padded (T, C), conv2d for images and clips, "
        "text-transformer for ids of words",
    )
    width: int = setting(
        64,
        "hidden width: channels of convolutions, model dimension of transformers, first stage of resnet18 and swin",
        at_least=1,
    )
    depth: int = setting(
        2,
        "number of layers, where no weights fix it; resnet18 always has 18; swin: of the first stage (2 = Swin-T)",
        at_least=1,
    )
    dropout: float = setting(
        0.0, "rate of dropout inside the encoder (swin: of stochastic depth)", at_least=0, at_most=0.99
    )
    weights: str = setting(
        "",
        "wav2vec2, hubert, vivit, swin: pre-trained weights, a folder or a name on the hub (NAME@REVISION), which also "
        "fix the width; empty = random initial weights",
    )
    layers: int = setting(
        0, "number of layers to keep of the pre-trained weights, from the first on; 0 = all (not for swin)", at_least=0
    )
    frozen: bool = setting(False, "pre-trained weights are not trained, and their layers stay in evaluation mode")
    window: int = setting(8, "windows: number of steps of a window", at_least=1)
    stride: int = setting(0, "windows: steps from one window to the next; 0 = `window`: none overlap", at_least=0)
    pixels: int = setting(
        0, "windows: images are averaged to so many rows and columns; 0 = they stay as they are", at_least=0
    )
    bins: int = setting(4, "windows: equal parts of a sequence; windows are averaged in each", at_least=1)
    compile: bool = setting(
        False,
        "compile the encoder with torch.compile, which pays off in long runs; one that cannot be compiled runs as it "
        "is, and the run's log says why; not part of a run's key",
        rounding=True,
    )
    drop_pathway: float = setting(
        0.0,
        "probability that a training step drops the modality, whose features are then zeros without a gradient; 0 = "
        "never (AV SlowFast: 0.8 for audio); a step that would drop all modalities drops none, so it does nothing in a "
        "run of one modality; for every encoder, your own too",
        at_least=0,
        at_most=0.99,
    )


@dataclass(frozen=True)
class ModelSettings:
    """The fusion head and the width of features, `model.*`."""

    fusion: str = setting(
        "late-linear",
        "fusion head (`mcr-bench list fusions`), or the file of one of your own, ./my_head.py:Head",
        origin="MCR paper",
    )
    width: int = setting(64, "width d of the features (B, d) that every encoder gives", at_least=1)
    conditioning: str = setting("", "film: the modality that conditions the other one; empty = the first modality")


def asked_budget(method: str, settings: Iterable[str]) -> frozenset[str]:
    """The settings (`key=value`) among those of a run that limit how long it may train, for all methods or this one.

    >>> sorted(asked_budget("mcr", ["epochs=5", "mcr.patience=3", "ogm.epochs=9", "optimizer.lr=0.1"]))
    ['epochs=5', 'mcr.patience=3']
    """
    keys = {*BUDGET, *(f"{method}.{name}" for name in BUDGET)}
    return frozenset(text for text in settings if text.partition("=")[0] in keys)
