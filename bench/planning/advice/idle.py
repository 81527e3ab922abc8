"""Settings that were asked for and do nothing: they act with other values of another setting."""

from collections.abc import Iterable, Iterator

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.runs.overrides import settings_in
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.settings.declaration import declared
from mcr_bench.bench.settings.training import TrainingSettings
from mcr_bench.bench.words import number_of


def idle_settings(runs: Iterable[RunSpec]) -> list[str]:
    """One sentence for each setting of training, or of a method, that runs were asked to have and that does nothing."""
    idle: dict[tuple[str, str, tuple[str, ...]], int] = {}
    for one in (one for run in runs for one in _idle(run)):
        idle[one] = idle.get(one, 0) + 1
    return [
        f"{setting} has no effect in {number_of(count, 'run')} with {given}; it acts with "
        f"{' or '.join(acting)}. Leave it out there, or the same training has another key."
        for (setting, given, acting), count in idle.items()
    ]


def _idle(run: RunSpec) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Each such setting, as it was given, with the other setting as the run has it, and as it would have to be."""
    for text in settings_in(run.overrides):
        key = text.partition("=")[0]
        prefix = f"{run.method}." if key.startswith(f"{run.method}.") else ""
        known, values = declared(TrainingSettings), run.training
        if prefix and key.removeprefix(prefix) not in known:
            known, values = declared(registry.method(run.source)), run.settings
        one = known.get(key.removeprefix(prefix))
        if one and one.where and values[one.where[0]] not in one.where[1]:
            other, allowed = one.where
            yield text, f"{prefix}{other}={values[other]}", tuple(f"{prefix}{other}={value}" for value in allowed)
