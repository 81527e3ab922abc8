"""What an optional comparison lacks here (dataset, preset, data or methods), and how many runs cannot be made."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcr_bench.bench.catalog.presets import preset_of
from mcr_bench.bench.catalog.resolve import concerns, resolve_run
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.planning.classes import Classes
from mcr_bench.bench.settings.declaration import build
from mcr_bench.datasets.base import Dataset

if TYPE_CHECKING:
    from mcr_bench.bench.planning.request import Request
    from mcr_bench.methods.base import Method

Identity = tuple[str, tuple[str, ...], tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Absent:
    """Runs of an optional comparison that cannot be made here.

    title: the title of the comparison.
    dataset: the name of the dataset.
    reason: why they cannot be made.
    runs: their number; None if they cannot be counted.
    """

    title: str
    dataset: str
    reason: str
    runs: int | None

    @property
    def text(self) -> str:
        """One line for a plan."""
        count = "" if self.runs is None else f" ({self.runs} runs)"
        return f"{self.title}: {self.reason}{count}" if self.title else f"{self.dataset}: {self.reason}{count}"


def absent_methods(request: "Request", dataset: str) -> list[Absent]:
    """One entry for all methods of an optional request that are not registered."""
    names = request.classes.unknown_methods
    if not names:
        return []
    listed = ", ".join(f"'{name}'" for name in names)
    repetitions = _repetitions(request)
    runs = None if repetitions is None else len(names) * repetitions
    kind = "method" if len(names) == 1 else "methods"
    return [Absent(request.title, dataset, f"not offered here: no {kind} {listed} registered", runs)]


def missing_dataset(request: "Request", name: str) -> str | None:
    """Why an optional request cannot use the dataset; None if it is registered and has the preset."""
    if name in request.classes.unknown_datasets:
        return request.classes.unknown_datasets[name]
    try:
        preset_of(request.classes.datasets[name], request.preset, name)
    except UserError as error:
        return f"not offered here: {error}"
    return None


def absent_runs(
    request: "Request", name: str, reason: str, classes: "Iterable[type[Method]]", points: Sequence[Mapping[str, str]]
) -> Absent:
    """The entry for a dataset that is not available. Settings are checked as far as is possible without it."""
    return Absent(request.title, name, reason, _count(request, list(classes), points))


def _repetitions(request: "Request") -> int | None:
    repetitions = request.pairs if request.pairs is not None else request.seeds
    return None if repetitions is None else len(repetitions)


def _count(request: "Request", classes: "list[type[Method]]", points: Sequence[Mapping[str, str]]) -> int | None:
    """The number of different runs, with those that they start from; None if modalities or repetitions are unknown."""
    repetitions = _repetitions(request)
    if request.modalities is None or repetitions is None:
        return None
    counted: set[Identity] = set()
    for point in points:
        for cls in classes:
            if cls.needs.at_least <= len(request.modalities) <= cls.needs.at_most:
                for modalities in cls.variants(request.modalities):
                    counted |= _identities(request.classes, cls, modalities, point, request.modalities)
    return len(counted) * repetitions


def _identities(
    classes: Classes,
    cls: "type[Method]",
    modalities: tuple[str, ...],
    point: Mapping[str, str],
    every: tuple[str, ...],
) -> set[Identity]:
    """The identities of this run and of those that it starts from, among runs of the same seed and fold."""
    # The dataset's class only decides which names an error suggests.
    settings = resolve_run(point, cls, Dataset, every, None, classes.owners).method  # type: ignore[type-abstract]  # it is not made
    requirements = build(cls, settings).requires(modalities)
    names = {cls.name, *(r.method for r in requirements)}
    own = tuple(sorted((k, v) for k, v in point.items() if concerns(k, names, modalities, classes.owners)))
    identities = {(cls.name, modalities, own)}
    for r in requirements:
        identities |= _identities(classes, classes.method(r.method), r.modalities, point, every)
    return identities
