"""A run of the record as everything that reads results sees it: one typed row, made in `made_rows.py` alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mcr_bench.bench.runs.overrides import settings_in
from mcr_bench.bench.settings.declaration import Value

Role = Literal["reference", "unimodal", "ensemble", "method"]
Part = Literal["training", "validation"]
Pair = tuple[int, int]
OURS = "mcr-bench"  # the name of this program among the versions


@dataclass(frozen=True)
class Asked:
    """How a run was requested under one preset.

    origin: who chose the preset's settings, in the preset's own words.
    overrides: the `--set` settings given beside the preset, such as `epochs=5 agm.alpha=2`.
    """

    origin: str = ""
    overrides: str = ""


@dataclass(frozen=True)
class Costs:
    """What a run took; None where it was not measured.

    seconds: of the training, from the first step to the last evaluation.
    seconds_per_step: mean over all optimiser steps.
    encoder_forwards: forward passes per step and encoder of the run's own model.
    encoder_backwards: backward passes, counted likewise.
    peak_memory_mib: most memory in use at once, in MiB.
    """

    seconds: float | None = None
    seconds_per_step: float | None = None
    encoder_forwards: float | None = None
    encoder_backwards: float | None = None
    peak_memory_mib: float | None = None


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One run: what was trained, how, on what, and what came of it.

    A field with a default may be missing from a record: of an unfinished run, or of a version that did not write it.

    key: digest of everything that decides the result; same key = same result.
    run_id: name of the run in MLflow.
    status: finished, failed, killed or running.
    method: name of the method.
    label: how tables call it: the method, its modality where it is unimodal, its `--set` settings.
    role: reference, unimodal, ensemble or method.
    source: the method as it was asked for: its name, or the path of its file.
    method_digest: digest of the method's behaviour.
    scales_gradients: whether the method declares that it scales gradients.
    complete_from: the first epoch, from 1, in which all parts of the method's rule act.
    primary: whether the method was in the family of the primary test that was named before training.
    dataset: name of the dataset, or of its file.
    dataset_source: the dataset as it was asked for: its name, or a path.
    fingerprint: digest of the data.
    data_identity: digest of data, dials and protocol: only runs with the same one are compared.
    modalities: the modalities that the run used.
    protocol: name of the split rule with its selection set and metric.
    protocol_card: the protocol in words.
    fold: number of the fold.
    seed: number from which every random draw follows.
    preset: the preset under which the run was trained.
    preset_origin: who chose that preset's settings.
    overrides: the `--set` settings given beside that preset.
    other_presets: further presets under which the same run was asked for, with their origin and overrides.
    config: digest that the runs of one line share: everything but seed, fold and what they start from.
    settings: every setting, resolved, by dotted key (`epochs`, `agm.alpha`, `encoder.audio.kind`).
    dependencies: keys of the runs that this one starts from.
    metric: name of the protocol's metric.
    value: that metric on the test part.
    unimodal: modality -> that metric on the test part from this modality alone.
    metrics: every metric logged, by its name in MLflow: final ones once, others with the value of the last epoch.
    floors: metric -> what a constant prediction scores on the test part.
    floors_of: the part whose labels that constant is the best one for.
    samples: part (train, val, test) -> number of its samples.
    epochs: how many epochs were trained; 0 for a method that trains nothing itself.
    best_epoch: the epoch whose weights were tested.
    costs: seconds, seconds_per_step, encoder_forwards, encoder_backwards, peak_memory_mib.
    missing: reason -> names of the metrics that are missing for it.
    failure: why the run failed.
    versions: name -> version of this program, of Python and of libraries.
    commit: the commit of the program's checkout, `+changes` where files differed.
    device: where the run was trained, such as cpu or cuda:0.
    device_name: the model of that GPU, or the type of any other device.
    precision: the arithmetic of the model: fp32, tf32 or bf16.
    deterministic: whether it was trained with `--deterministic`.
    platform: operating system and processor.
    started: when the run began, in seconds since 1970 (UTC).
    moment: likewise, but later than those of all runs that its dataset had before; 0 where it is not on record.
    ended: when the run ended, in seconds since 1970.
    artifacts: address of the folder that holds the run's files, such as predictions.parquet.
    """

    key: str
    run_id: str
    status: str
    method: str
    label: str
    role: Role
    source: str = ""
    method_digest: str = ""
    scales_gradients: bool = False
    complete_from: int = 1
    primary: bool = True
    dataset: str
    dataset_source: str = ""
    fingerprint: str = ""
    data_identity: str
    modalities: tuple[str, ...]
    protocol: str
    protocol_card: str = ""
    fold: int
    seed: int
    preset: str
    preset_origin: str = ""
    overrides: str = ""
    other_presets: Mapping[str, Asked] = field(default_factory=dict)
    config: str
    settings: Mapping[str, Value] = field(default_factory=dict)
    dependencies: tuple[str, ...] = ()
    metric: str
    value: float | None = None
    unimodal: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    floors: Mapping[str, float] = field(default_factory=dict)
    floors_of: Part = "training"
    samples: Mapping[str, int] = field(default_factory=dict)
    epochs: int | None = None
    best_epoch: int | None = None
    costs: Costs = field(default_factory=Costs)
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    failure: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    commit: str = ""
    device: str = ""
    device_name: str = ""
    precision: str = ""
    deterministic: bool = False
    platform: str = ""
    started: float
    moment: float = 0.0
    ended: float | None = None
    artifacts: str = ""

    @property
    def finished(self) -> bool:
        """Whether all of the run is on record."""
        return self.status == "finished"

    @property
    def pair(self) -> Pair:
        """(seed, fold), by which runs of different methods are paired."""
        return self.seed, self.fold

    @property
    def order(self) -> float:
        """By what the newer of two runs is known: its moment, or its start where no moment is on record."""
        return max(self.moment, self.started)

    @property
    def place(self) -> tuple[str, str, int, int, float]:
        """By what rows are sorted: dataset, label, seed and fold, and of equal ones by age."""
        return self.dataset, self.label, self.seed, self.fold, self.order

    @property
    def name(self) -> str:
        """How notes call the run."""
        return f"{self.label} on {self.dataset}, seed {self.seed}, fold {self.fold}"

    @property
    def asked(self) -> dict[str, Asked]:
        """Every preset under which the run was asked for; first the one under which it was trained."""
        return {self.preset: Asked(self.preset_origin, self.overrides)} | dict(self.other_presets)

    def why_missing(self, metric: str) -> str:
        """The reason on record why the run lacks a metric; "" for none."""
        return next((reason for reason, names in self.missing.items() if metric in names), "")

    @property
    def asked_settings(self) -> list[str]:
        """The `--set` settings, one text each, as in `epochs=5`."""
        return settings_in(self.overrides)
