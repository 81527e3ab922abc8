"""Estimate how long runs will take, from the times of similar runs in the record."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.runs.words import counted

SHOWN = "The time left is shown from the first finished run on."
Times = dict[Hashable, list[float]]


@dataclass(frozen=True)
class Estimate:
    """An estimate of the time that runs will take.

    measured: the number of runs for which runs with the same settings are on record.
    scaled: the number of runs for which only other runs on the same data are on record.
    unknown: the number of runs without either.
    core_hours: the hours of the measured and scaled runs together, one after another.
    jobs: the number of worker processes.
    """

    measured: int
    scaled: int
    unknown: int
    core_hours: float
    jobs: int

    @property
    def runs(self) -> int:
        """The number of runs to train."""
        return self.measured + self.scaled + self.unknown

    @property
    def hours(self) -> float:
        """The hours until the end, if all processes are busy until then."""
        return self.core_hours / max(1, min(self.jobs, self.measured + self.scaled))

    @property
    def text(self) -> str:
        """The estimate in one or two sentences."""
        if not self.runs:
            return "Nothing to train."
        timed = self.measured + self.scaled
        if not timed:
            return f"{counted(self.unknown)} to train. No estimate yet: the record has no run on the same data. {SHOWN}"
        counts = {
            "from runs with the same settings": self.measured,
            "scaled from other runs on the same data": self.scaled,
        }
        basis = "; ".join(f"{count} {source}" for source, count in counts.items() if count)
        jobs = "1 job" if self.jobs == 1 else f"{self.jobs} jobs"
        text = f"{counted(timed)} to train: about {in_words(self.hours)} with {jobs} ({basis})."
        return f"{text} No estimate for {self.unknown} more: no run on their data." if self.unknown else text


def estimate(runs: Sequence[RunSpec], rows: Sequence[RunRow], jobs: int = 1) -> Estimate:
    """Estimate the time of `runs` from the finished rows of a record.

    A run takes the mean time of the rows with its settings and data (`config`). If there are none, it takes that of
    rows of its method on its dataset, or else of any method, scaled by the largest number of epochs and the number of
    modalities. What runs on its dataset take beside their training, as a rule, is added.
    """
    (exact, near, far), beside = _times(rows), _beside(rows)
    seconds, measured, scaled = 0.0, 0, 0
    for run in runs:
        units = _units(int(run.training["epochs"]), len(run.modalities))
        if run.config in exact:
            seconds, measured = seconds + fmean(exact[run.config]) + beside[run.dataset], measured + 1
        elif others := near.get((run.dataset, run.method, run.role)) or far.get(run.dataset):
            seconds, scaled = seconds + fmean(others) * units + beside[run.dataset], scaled + 1
    return Estimate(measured, scaled, len(runs) - measured - scaled, seconds / 3600, max(1, jobs))


def in_words(hours: float) -> str:
    """A time in words, with the unit that fits.

    >>> in_words(0.01), in_words(0.2), in_words(3.4), in_words(50)
    ('36 seconds', '12 minutes', '3.4 hours', '2.1 days')
    """
    for unit, length in (("days", 24.0), ("hours", 1.0)):
        if hours >= 1.5 * length:
            return f"{hours / length:.1f} {unit}"
    minutes = hours * 60
    if minutes >= 1.5:
        return f"{minutes:.0f} minutes"
    seconds = max(1, round(minutes * 60))
    return "1 second" if seconds == 1 else f"{seconds} seconds"


def _times(rows: Iterable[RunRow]) -> tuple[Times, Times, Times]:
    """Seconds by configuration; seconds per epoch and modality by (dataset, method, role), and by dataset."""
    exact, near, far = (defaultdict[Hashable, list[float]](list) for _ in range(3))
    for row in rows:
        seconds = row.costs.seconds
        if not row.finished or seconds is None:
            continue
        limit = row.settings.get("epochs", 0)
        units = _units(limit if isinstance(limit, int) else 0, len(row.modalities))
        exact[row.config].append(seconds)
        near[row.dataset, row.method, row.role].append(seconds / units)
        if row.epochs:  # the time of a run without training says nothing about other runs
            far[row.dataset].append(seconds / units)
    return exact, near, far


def _beside(rows: Iterable[RunRow]) -> dict[str, float]:
    """Dataset -> the median of the seconds from the start of a run to its end in which it was not trained.

    Of a run that was interrupted these are any number, so that a mean would say little.
    """
    others = defaultdict[str, list[float]](list)
    for row in rows:
        if row.finished and row.costs.seconds is not None and row.ended is not None:
            others[row.dataset].append(max(0.0, row.ended - row.started - row.costs.seconds))
    return defaultdict(float, {dataset: median(seconds) for dataset, seconds in others.items()})


def _units(epochs: int, modalities: int) -> int:
    """The factor that the time of a run is assumed to be proportional to."""
    return max(1, epochs) * max(1, modalities)
