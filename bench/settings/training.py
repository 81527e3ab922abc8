"""Settings of training and of the model: what `--set epochs=5`, `optimizer.lr=...` and `encoder.width=...` mean."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from mcr_bench.bench.settings.declared import Space, setting

BUDGET = ("epochs", "patience")  # how long a run may train


@dataclass(frozen=True)
class OptimizerSettings:
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
    momentum: float = setting(0.9, "momentum of sgd", origin="OGM-GE code", at_least=0, at_most=1)
    beta1: float = setting(0.9, "first-moment decay of adam", origin="MCR code", at_least=0, at_most=1)
    beta2: float = setting(0.999, "second-moment decay of adam", origin="MCR code", at_least=0, at_most=1)
    eps: float = setting(
        1e-7, "epsilon of adam and adamw (the MCR code has 1e-8 for adamw)", origin="MCR code", at_least=0
    )


@dataclass(frozen=True)
class ScheduleSettings:
    name: Literal["constant", "cosine", "step", "warm-restarts"] = setting(
        "constant",
        "learning rate over the run: cosine to 0 at the last epoch; step: times `factor` every `every` epochs; "
        "warm-restarts: the MCR code's, constant for `warmup` steps, then a cosine whose restarts count from the "
        "run's first step: after `first` steps, the period growing by `factor`",
    )
    warmup: int = setting(0, "steps: linear warm-up for cosine and step, constant phase for warm-restarts", at_least=0)
    every: int = setting(70, "epochs between drops (step)", origin="OGM-GE code", at_least=1)
    factor: float = setting(
        0.1, "drop of step; growth of the period of warm-restarts (paper: 2)", origin="OGM-GE code", at_least=0
    )
    first: int = setting(4, "steps of the first period (warm-restarts)", origin="MCR code", at_least=1)


@dataclass(frozen=True)
class TrainingSettings:
    epochs: int = setting(50, "most epochs", at_least=0)
    patience: int = setting(20, "stop after so many epochs without a better validation value; 0 = never", at_least=0)
    patience_from: Literal["after", "best"] = setting(
        "after", "what patience counts: the epochs after the best one, or the best one too (as the MCR code)"
    )
    batch_size: int = setting(64, "samples per step", at_least=1)
    monitor: str = setting(
        "auto",
        "validation metric that selects the epoch; auto = the protocol's metric; "
        "total_loss = the loss with the losses of the own heads that the method trains, weighted as in training",
    )
    ties: Literal["loss", "first"] = setting(
        "loss",
        "of epochs with the same value of the monitor: the lower validation loss, or the first (as the MCR code)",
    )
    clip_norm: float = setting(0.0, "gradient norm clip, after the method's hook; 0 = off", at_least=0)
    precision: Literal["fp32", "bf16"] = setting("fp32", "bf16 = autocast")
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)


@dataclass(frozen=True)
class EncoderSettings:
    kind: Literal[
        "auto",
        "mlp",
        "conv1d",
        "conv2d",
        "resnet18",
        "transformer",
        "wav2vec2",
        "wav2vec2-conformer",
        "hubert",
        "vivit",
        "swin",
        "conformer",
    ] = setting(
        "auto",
        "auto: mlp for (D,), conv1d for (T, C), transformer for padded (T, C), conv2d for images and clips; "
        "wav2vec2, wav2vec2-conformer, hubert, vivit, swin and conformer need mcr-bench[backbones]",
    )
    width: int = setting(
        64,
        "hidden width (channels of convolutions, model dimension of transformers, first stage of resnet18 and swin)",
        at_least=1,
    )
    depth: int = setting(
        2,
        "layers (resnet18 always has its 18; swin: of the first stage, 2 is Swin-T); weights bring theirs",
        at_least=1,
    )
    dropout: float = setting(0.0, "dropout inside the encoder (swin: stochastic depth)", at_least=0, at_most=0.99)
    weights: str = setting(
        "",
        "wav2vec2, hubert, vivit, swin: folder or hub name (NAME@REVISION) of pre-trained weights, with their width; "
        "empty = drawn",
    )
    layers: int = setting(0, "keep so many of the first layers of the weights; 0 = all (not for swin)", at_least=0)
    frozen: bool = setting(False, "the part that has weights does not learn, and stays in evaluation mode")


@dataclass(frozen=True)
class ModelSettings:
    """The model. `encoder` is every modality's; `encoder.MODALITY.key` overrides it for one."""

    fusion: Literal["late-linear", "concat-mlp", "gated", "film"] = setting(
        "late-linear", "fusion head", origin="MCR paper"
    )
    width: int = setting(64, "feature width d that every encoder gives", at_least=1)
    conditioning: str = setting("", "film only: the modality that conditions the other; empty = the first")


def asked_budget(method: str, settings: Iterable[str]) -> frozenset[str]:
    """Of `--set` settings (key=value) of a run those that set how long it may train: for all methods or this one."""
    keys = {*BUDGET, *(f"{method}.{name}" for name in BUDGET)}
    return frozenset(text for text in settings if text.partition("=")[0] in keys)
