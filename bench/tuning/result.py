"""The result of a search: trials, the best one of each method, the preset made of these, and the file of searches."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

from filelock import FileLock

from mcr_bench.bench.catalog.presets import Preset, write_user_preset
from mcr_bench.bench.core.files import write_whole
from mcr_bench.bench.core.inputs.texts import json_of, text_of
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.settings.declaration import Value

if TYPE_CHECKING:
    from mcr_bench.bench.runs.events import Failure


@dataclass(frozen=True)
class Trial:
    """A trial of a method.

    number: its number, from 0; trial 0 has the preset's own settings.
    settings: `METHOD.key` -> value; empty for trial 0.
    value: its validation value; None if a run failed.
    """

    number: int
    settings: Mapping[str, Value]
    value: float | None


@dataclass(frozen=True)
class Tuned:
    """The search of one method.

    method: its name.
    searched: the keys that were varied.
    starts_from: the methods whose runs it starts from, which were tuned before.
    trials: its trials in their order.
    higher_is_better: whether a higher validation value is better.
    """

    method: str
    searched: tuple[str, ...]
    starts_from: tuple[str, ...]
    trials: list[Trial]
    higher_is_better: bool

    @property
    def best(self) -> Trial | None:
        """The trial with the best validation value, the earliest of equal ones; None if all failed."""
        sign = 1 if self.higher_is_better else -1
        scores = [(sign * trial.value, -trial.number) for trial in self.trials if trial.value is not None]
        return self.trials[-max(scores)[1]] if scores else None

    @property
    def note(self) -> str:
        """What a reader must know about the values, in words."""
        failed = sum(trial.value is None for trial in self.trials)
        return "; ".join(
            [
                *(["nothing of its own to search"] if not self.searched else []),
                *([f"starts from {', '.join(self.starts_from)}, tuned first"] if self.starts_from else []),
                *(
                    [f"{failed} of {len(self.trials)} trials failed or have no validation value, and count as worst"]
                    if failed
                    else []
                ),
            ]
        )


ROTATING = "; LEAK where folds take turns: the validation part of one fold may be in the test part of another"


class KeptTrial(TypedDict):
    """A trial in the file of searches."""

    number: int
    settings: dict[str, Value]
    value: float | None


class KeptSearch(TypedDict):
    """The part of a stored search that is read; the file also has seeds, folds, trials, fingerprint and settings."""

    dataset: str
    protocol: str
    modalities: list[str]
    metric: str
    higher_is_better: bool
    preset: str
    methods: dict[str, list[KeptTrial]]


@dataclass(frozen=True)
class Search:
    """A search without its methods.

    dataset: the name of the dataset.
    protocol: the protocol.
    modalities: the modalities.
    metric: the metric that selects.
    higher_is_better: whether a higher value is better.
    trials: the number of trials per method.
    seeds: the seeds of each trial.
    folds: the fold of each seed.
    fingerprint: a digest of the data.
    base: the preset that the search starts from.
    values: the settings of that preset, with those given by `--set`.
    preset: the name of the preset that it writes.
    """

    dataset: str
    protocol: str
    modalities: tuple[str, ...]
    metric: str
    higher_is_better: bool
    trials: int
    seeds: tuple[int, ...]
    folds: tuple[int, ...]
    fingerprint: str
    base: Preset
    values: Mapping[str, object]
    preset: str

    @property
    def note(self) -> str:
        """The note of the preset: how its settings were chosen."""
        return (
            f"best of {self.trials} trials (preset {self.base.name}, then random search) by validation {self.metric}; "
            f"protocol {self.protocol}, modalities {'+'.join(self.modalities)}, "
            f"seeds {' '.join(map(str, self.seeds))}, folds {' '.join(map(str, dict.fromkeys(self.folds)))}"
            f"{ROTATING if len(set(self.folds)) > 1 else ''}"
        )

    def facts(self) -> dict[str, object]:
        """The search as plain data, for JSON."""
        facts = asdict(self) | {"base": self.base.name, "values": dict(self.values)}
        return dict(json.loads(json.dumps(facts)))


@dataclass(frozen=True)
class TuneResult:
    """The result of a search.

    search: the search.
    methods: the result of each method.
    path: the file of the preset.
    kept: methods of an earlier search whose result stays in the preset.
    lost: those whose result was in the preset and is no longer, as that search was another one.
    skipped: (dataset, method, reason) of the methods that cannot run.
    failed: the runs that failed.
    """

    search: Search
    methods: list[Tuned]
    path: Path
    kept: list[str]
    lost: list[str]
    skipped: list[tuple[str, str, str]]
    failed: "list[Failure]" = field(default_factory=list)

    @property
    def preset(self) -> str:
        return self.search.preset

    def rows(self) -> list[dict[str, object]]:
        """One row per method for a printed table."""
        return [_row(tuned) for tuned in self.methods]


def searches_folder(home: Path) -> Path:
    """The folder with the trials and values of finished searches, one file per dataset."""
    return home / "tuning" / "searches"


def read_searches(path: Path) -> dict[str, KeptSearch]:
    """Name of a preset -> its search, from the file of a dataset; UserError if the file is damaged."""
    try:
        searches = json_of(text_of(path))
        return {preset: search | {"methods": dict(search["methods"])} for preset, search in searches.items()}
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        raise UserError(
            f"the searches in '{path}' cannot be read ({error}). Delete the file and repeat the `mcr-bench tune` "
            "commands, which write it again from the recorded trials."
        ) from error


def keep(search: Search, methods: list[Tuned], home: Path) -> tuple[Path, list[str], list[str]]:
    """Store the search and write its preset.

    Returns the preset's file, the methods whose earlier result stays, and those whose earlier result goes.
    Searches that differ only in their methods share one preset; any other search with the same name is replaced.
    """
    path = searches_folder(home) / f"{re.sub(r'[^a-zA-Z0-9_.-]+', '-', search.dataset)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = {tuned.method: [_kept(trial) for trial in tuned.trials] for tuned in methods}
    with FileLock(f"{path}.lock"):
        searches = read_searches(path) if path.exists() else {}
        earlier = searches.get(search.preset)
        before = earlier["methods"] if earlier is not None else {}
        others = before if earlier is not None and _same(earlier, search) else {}
        every = others | mine
        searches[search.preset] = cast(KeptSearch, search.facts() | {"methods": every})
        preset = _preset(search, every)
        written = write_user_preset(search.dataset, preset, home)
        write_whole(path, json.dumps(searches, indent=1))
    kept = [method for method in others if method not in mine]
    return written, kept, [method for method in before if method not in every]


def _kept(trial: Trial) -> KeptTrial:
    return {"number": trial.number, "settings": dict(trial.settings), "value": trial.value}


def _same(earlier: KeptSearch, search: Search) -> bool:
    return {k: v for k, v in earlier.items() if k != "methods"} == search.facts()


def _preset(search: Search, methods: Mapping[str, list[KeptTrial]]) -> Preset:
    values, given = dict(search.values), list[str]()
    for method, trials in methods.items():
        tuned = Tuned(method, (), (), [Trial(**trial) for trial in trials], search.higher_is_better)
        if tuned.best:
            values |= tuned.best.settings
            given.append(method)
    base, origin = search.base, f"tuned-here@{search.trials}"
    return Preset(search.preset, origin, base.seeds, values, base.pairs, search.note, tuple(given))


def _row(tuned: Tuned) -> dict[str, object]:
    best = tuned.best
    settings = best.settings.items() if best else ()
    return {
        "method": tuned.method,
        "trials": len(tuned.trials),
        "best_trial": best.number if best else "",
        "value_of_preset": _rounded(tuned.trials[0].value),
        "value_of_best": _rounded(best.value if best else None),
        "settings": " ".join(f"{key.partition('.')[2]}={value:g}" for key, value in settings)
        or ("the preset's" if best else "none: every trial failed"),
        "note": tuned.note,
    }


def _rounded(value: float | None) -> str:
    return "failed" if value is None else f"{value:.4f}"
