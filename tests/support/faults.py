"""A fault that is tried, the outcomes of its trials, and the page docs/faults.md that is made of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

UNPROTECTED = "unprotected"
LEAST_TRIALS = 15
HEAD = """# Faults

What can go wrong around a training, and what happens then. `make faults` tries every fault in different kinds, places
and moments (`tests/faults/`, one module per row) and writes this page; the tests that need Ray or PostgreSQL are left
out where these are missing. A row's last column is its counter-check: the same trial with the protection removed, which
has to fail.

| fault | what happens | trials | as promised | without the protection |
|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Fault:
    """One row of the page; a module of tests/faults/ declares its own as FAULT.

    what: what goes wrong, as a user would tell it.
    promise: what the program does then.
    """

    what: str
    promise: str


@dataclass(frozen=True)
class Trial:
    """One test that has run.

    module: the name of its module.
    words: the first line of its docstring.
    outcome: as pytest calls it.
    unprotected: whether it is a counter-check.
    times: how often it tried the fault, each time at another place or moment: its property `times`, if it has one.
    """

    module: str
    words: str
    outcome: str
    unprotected: bool
    times: int = 1


def page(faults: Mapping[str, Fault], trials: Iterable[Trial]) -> str:
    """The page, Markdown; `faults`: name of a module -> what it tries. Skipped trials are counted apart."""
    done = list(trials)
    return HEAD + "".join(_row(fault, [one for one in done if one.module == name]) for name, fault in faults.items())


def _row(fault: Fault, trials: list[Trial]) -> str:
    tried = [one for one in trials if not one.unprotected]
    ran = [one for one in tried if one.outcome != "skipped"]
    count = f"{_times(ran)}" if len(ran) == len(tried) else f"{_times(ran)}, {len(tried) - len(ran)} left out"
    kept = _times(one for one in ran if one.outcome == "passed")
    without = "; ".join(dict.fromkeys(f"{one.words} ({_shown(one)})" for one in trials if one.unprotected))
    return f"| {fault.what} | {fault.promise} | {count} | {kept} | {without} |\n"


def _times(trials: Iterable[Trial]) -> int:
    return sum(one.times for one in trials)


def _shown(trial: Trial) -> str:
    return {"passed": "seen", "skipped": "left out"}.get(trial.outcome, "not seen")
