"""Settings that were asked for and do nothing: they act with other values of another setting."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from mcr_bench.bench.runs.overrides import settings_in
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.settings.declaration import declared
from mcr_bench.bench.settings.training import TrainingSettings
from mcr_bench.bench.words import number_of


class Idle(NamedTuple):
    """A setting that does nothing in a run.

    key: as it was given.
    beside: the other setting, as the run has it.
    acting: the other setting as it would have to be.
    """

    key: str
    beside: str
    acting: tuple[str, ...]


def idle_settings(runs: Iterable[RunSpec], classes: Mapping[str, type]) -> list[str]:
    """One sentence for each setting of training, or of a method, that runs were asked to have and that does nothing.

    A value that is the default is not named: the run has the same key without it. classes: the classes of methods by
    the source of their runs.
    """
    counts: dict[Idle, int] = {}
    for one in (one for run in runs if run.role != "ensemble" for one in _idle(run, classes)):
        counts[one] = counts.get(one, 0) + 1
    return [
        f"{one.key} has no effect in {number_of(count, 'run')} with {one.beside}; it acts with "
        f"{' or '.join(one.acting)}. Runs with another value of it train the same under another key."
        for one, count in counts.items()
    ]


def _idle(run: RunSpec, classes: Mapping[str, type]) -> Iterator[Idle]:
    asked = {text.partition("=")[0] for text in settings_in(run.overrides)}
    own = f"{run.method}."
    for key in sorted(asked - {narrow.removeprefix(own) for narrow in asked if narrow.startswith(own)}):
        prefix = own if key.startswith(own) else ""
        name, known, values = key.removeprefix(prefix), declared(TrainingSettings), run.training
        if prefix and name not in known:
            known, values = declared(classes[run.source]) if run.source in classes else {}, run.settings
        one = known.get(name)
        if one and one.acts_with and values[name] != one.default and values[one.acts_with[0]] not in one.acts_with[1]:
            other, allowed = one.acts_with
            yield Idle(key, f"{prefix}{other}={values[other]}", tuple(f"{prefix}{other}={value}" for value in allowed))
