"""RunSpec: what is trained, and its key."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mcr_bench import __version__
from mcr_bench.bench.models.backbones.weights import content_of
from mcr_bench.bench.settings.declared import Value


@dataclass(frozen=True, eq=False)
class RunSpec:
    """One training of one method on one dataset under one protocol, fold, seed and set of settings.

    The fields from `dataset` on do not change the result and are not part of the key. dataset_settings: all dials;
    data_settings: what of them decides the result.
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

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the result."""
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
            "model": self.model,
            "encoders": {m: _by_content(inner) for m, inner in self.encoders.items()},
            "dependencies": [run.key for run in self.dependencies],
            "version": __version__,
        }

    @cached_property
    def key(self) -> str:
        """Same key = same result."""
        return _digest(self.identity)

    @cached_property
    def config(self) -> str:
        """Digest of everything but seed, fold and dependencies: the runs of one row of a table share it."""
        varying = ("seed", "fold", "dependencies")
        inherited = [run.config for run in self.dependencies]
        return _digest({k: v for k, v in self.identity.items() if k not in varying} | {"inherited": inherited})

    @property
    def data_identity(self) -> str:
        """Digest of the data and protocol that a comparison is about."""
        return _digest([self.adapter, self.data_settings, self.fingerprint, self.protocol])

    @property
    def label(self) -> str:
        """How the run's method is called in tables and progress lines."""
        parts = f" ({', '.join(self.modalities)})" if self.role == "unimodal" else ""
        return f"{self.method}{parts}" + (f" [{self.overrides}]" if self.overrides else "")

    def params(self) -> dict[str, str]:
        """Flat settings for the record."""
        flat = {f"{self.method}.{k}": v for k, v in self.settings.items()} | self.training
        flat |= {f"model.{k}": v for k, v in self.model.items()} | {
            f"dataset.{k}": v for k, v in self.dataset_settings.items()
        }
        flat |= {f"encoder.{m}.{k}": v for m, inner in self.encoders.items() for k, v in inner.items()}
        return {k: str(v) for k, v in flat.items()}

    def tags(self) -> dict[str, str]:
        """What identifies the run in the record."""
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
        )
        tags = {name: str(getattr(self, name)) for name in (*names, *more)}
        tags |= {"modalities": ",".join(self.modalities), "scales_gradients": str(self.scales_gradients).lower()}
        return tags | {"version": __version__, "dependencies": ",".join(run.key for run in self.dependencies)}


def _by_content(encoder: dict[str, Value]) -> dict[str, Value]:
    return {key: content_of(str(value)) if key == "weights" else value for key, value in encoder.items()}


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:20]
