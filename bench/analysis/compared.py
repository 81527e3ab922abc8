"""A comparison: the runs that may be compared in one table."""

from dataclasses import dataclass, field

from mcr_bench.bench.problem.metrics import LOWER_IS_BETTER, SHARES
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.runs.overrides import named

__all__ = ["LOWER_IS_BETTER", "SHARES", "Comparison", "Skipped"]

Skipped = tuple[str, str, str]


@dataclass(frozen=True)
class Comparison:
    """Runs on the same data under one protocol and preset with the same modalities.

    dataset: the name of the dataset.
    protocol: the name of the protocol.
    modalities: the modalities that the runs use.
    metric: the protocol's metric.
    preset: the name of the preset.
    shared: the `--set` settings that all runs have which they bear on: those of an encoder, all with its modality.
    lines: label -> its current finished runs, one per seed and fold.
    failed: failed runs whose label, seed and fold have no finished run.
    replaced: the number of older runs that are left out.
    skipped: (method, reason) of the methods that cannot run here.
    valueless: finished runs without a finite value of the metric, which are in no line.
    data: short fingerprint and day of the data, if other data had the same name; otherwise empty.
    older: whether newer data have the same name.
    unfinished: interrupted or running runs whose label, seed and fold have no finished run.
    """

    dataset: str
    protocol: str
    modalities: tuple[str, ...]
    metric: str
    preset: str
    shared: tuple[str, ...]
    lines: dict[str, list[RunRow]]
    failed: list[RunRow]
    replaced: int
    skipped: list[tuple[str, str]]
    valueless: list[RunRow] = field(default_factory=list)
    data: str = ""
    older: bool = False
    unfinished: list[RunRow] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Dataset, modalities, protocol, preset, shared settings, and the data if others have the same name."""
        if not self.data:
            return self._name
        age = "older" if self.older else "newest"
        return f"{self._name} · data {self.data} ({age})"

    @property
    def file(self) -> str:
        """The name for files; that of the newest data has no addition."""
        return f"{self._name} · older data {self.data}" if self.older else self._name

    @property
    def _name(self) -> str:
        parts = [self.dataset, " + ".join(self.modalities), f"protocol {self.protocol}", f"preset {self.preset}"]
        return " · ".join([*parts, " ".join(self.shared_names)] if self.shared else parts)

    @property
    def shared_names(self) -> list[str]:
        """The shared settings as titles have them, a net of one's own by its class."""
        return list(dict.fromkeys(map(named, self.shared)))

    @property
    def rows(self) -> list[RunRow]:
        """The runs of all lines."""
        return [row for runs in self.lines.values() for row in runs]

    def of_role(self, role: str) -> list[str]:
        """The labels of the lines with this role."""
        return [label for label, runs in self.lines.items() if runs[0].role == role]

    def own_settings(self, label: str) -> list[str]:
        """The `--set` settings of a line that are not shared by all lines."""
        return [text for text in self.lines[label][0].asked_settings if text not in self.shared]

    def plainest(self, method: str) -> str | None:
        """The label of the method's line with the fewest settings of its own, of several the shortest one.

        None if the method has no line.
        """
        labels = [label for label, runs in self.lines.items() if runs[0].method == method]
        return min(labels, key=lambda label: (len(self.own_settings(label)), len(label), label), default=None)
