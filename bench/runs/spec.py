"""RunSpec: a run to be trained, and the key that identifies it."""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mcr_bench import __version__
from mcr_bench.bench.models.backbones.weights import content_of
from mcr_bench.bench.settings.declaration import Value


@dataclass(frozen=True, eq=False)
class RunSpec:
    """One training of one method on one dataset under one protocol, fold, seed and set of settings.

    The fields from `dataset` on do not change the result and are not part of the key.

    method: the method's name.
    method_digest: a digest of the method's code.
    settings: the method's own settings, by key without the method's name.
    adapter: the name of the dataset's class, such as `arrays` for a file of arrays.
    data_settings: those settings of the dataset that decide the result.
    fingerprint: a digest of the data.
    modalities: the modalities that are trained, in the dataset's order.
    protocol: the name of the protocol, the rule that splits the data.
    fold: the fold of the protocol.
    seed: the seed of all random draws.
    training: the settings of training, by dotted key.
    model: the settings of the model.
    encoders: modality -> the settings of its encoder.
    dependencies: the runs whose best weights this one starts from.
    dataset: the dataset's name in tables.
    dataset_settings: all settings of the dataset.
    source: the method's name, or the file that defines it.
    dataset_source: the dataset's name, or its file.
    data_root: the folder of prepared datasets.
    role: the method's role, such as `unimodal` or `reference`.
    preset: the name of the preset.
    preset_origin: where the settings of the preset come from.
    overrides: what `--set` gave for this run, as text for tables.
    protocol_card: the description of the protocol that tables show.
    metric: the metric by which the protocol compares methods.
    scales_gradients: whether the method scales gradients, which Adam largely cancels.
    complete_from: the first epoch, from 1, in which all parts of the method's rule act.
    primary: whether the method is in the family of the primary test that was named before training.
    rounding: settings that change the result by rounding only, by dotted key (`encoder.video.compile`).
    pathways: modality -> the probability that a step drops it (`encoder.MODALITY.drop_pathway`), where that acts; it is
        part of the key.
    """

    method: str
    method_digest: str
    settings: dict[str, Value]
    adapter: str
    data_settings: dict[str, Value]
    fingerprint: str
    modalities: tuple[str, ...]
    protocol: str
    fold: int
    seed: int
    training: dict[str, Value]
    model: dict[str, Value]
    encoders: dict[str, dict[str, Value]]
    dependencies: tuple["RunSpec", ...]
    dataset: str
    dataset_settings: dict[str, Value]
    source: str
    dataset_source: str
    data_root: Path
    role: str
    preset: str
    preset_origin: str
    overrides: str
    protocol_card: str
    metric: str
    scales_gradients: bool
    rounding: dict[str, Value] = field(default_factory=dict)
    pathways: dict[str, float] = field(default_factory=dict)
    primary: bool = True
    complete_from: int = 1

    @cached_property
    def identity(self) -> dict[str, object]:
        """Everything that decides the result of the run."""
        return {
            "method": self.method,
            "method_digest": self.method_digest,
            "settings": self.settings,
            "dataset": self.adapter,
            "dataset_settings": self.data_settings,
            "fingerprint": self.fingerprint,
            "modalities": list(self.modalities),
            "protocol": self.protocol,
            "fold": self.fold,
            "seed": self.seed,
            "training": self.training,
            "model": _by_behaviour(self.model, "fusion"),
            "encoders": {m: _by_behaviour(_by_content(inner), "kind") for m, inner in self.encoders.items()},
            "dependencies": [run.key for run in self.dependencies],
            "version": __version__,
            **({"pathways": self.pathways} if self.pathways else {}),
        }

    @cached_property
    def key(self) -> str:
        """The digest of `identity`: runs with the same key give the same result."""
        return _digest(self.identity)

    @cached_property
    def config(self) -> str:
        """A digest of everything except seed, fold and dependencies: the runs of one line of a table share it."""
        varying = ("seed", "fold", "dependencies")
        inherited = [run.config for run in self.dependencies]
        return _digest({k: v for k, v in self.identity.items() if k not in varying} | {"inherited": inherited})

    @property
    def data_identity(self) -> str:
        """A digest of the data and the protocol: the runs of one comparison share it."""
        return _digest([self.adapter, self.data_settings, self.fingerprint, self.protocol])

    @property
    def label(self) -> str:
        """The name of the run's method in tables and progress lines, such as `unimodal (audio)` or `ogm [epochs=5]`."""
        parts = f" ({', '.join(self.modalities)})" if self.role == "unimodal" else ""
        return f"{self.method}{parts}" + (f" [{self.overrides}]" if self.overrides else "")

    def params(self) -> dict[str, str]:
        """All settings of the run as texts by dotted key, for the record."""
        flat = {f"{self.method}.{k}": v for k, v in self.settings.items()} | self.training
        flat |= {f"model.{k}": v for k, v in self.model.items()} | {
            f"dataset.{k}": v for k, v in self.dataset_settings.items()
        }
        flat |= {f"encoder.{m}.{k}": v for m, inner in self.encoders.items() for k, v in inner.items()}
        flat |= {f"encoder.{m}.drop_pathway": rate for m, rate in self.pathways.items()}
        return {k: str(v) for k, v in (flat | self.rounding).items()}

    def tags(self) -> dict[str, str]:
        """The texts by which the record finds and describes the run."""
        names = ("key", "method", "role", "label", "dataset", "protocol", "fold", "seed", "preset", "preset_origin")
        more = (
            "dataset_source",
            "source",
            "overrides",
            "protocol_card",
            "metric",
            "config",
            "data_identity",
            "fingerprint",
            "method_digest",
            "complete_from",
        )
        tags = {name: str(getattr(self, name)) for name in (*names, *more)}
        flags = {"scales_gradients": self.scales_gradients, "primary": self.primary}
        tags |= {"modalities": ",".join(self.modalities)} | {name: str(flag).lower() for name, flag in flags.items()}
        return tags | {"version": __version__, "dependencies": ",".join(run.key for run in self.dependencies)}


def _by_content(encoder: dict[str, Value]) -> dict[str, Value]:
    return {key: content_of(str(value)) if key == "weights" else value for key, value in encoder.items()}


def _by_behaviour(settings: dict[str, Value], name: str) -> dict[str, Value]:
    """Of a net that does not come with the harness what it computes, not how it is named or where it lies."""
    known = f"{name}_digest" in settings
    return {k: v for k, v in settings.items() if k != name or not known}


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:20]
