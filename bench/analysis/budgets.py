"""How the lines of a comparison were trained: their budgets, which decide what is tested, and devices and rounding."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.settings.training import BUDGET, asked_budget


@dataclass(frozen=True)
class Budget:
    """How long a run may train.

    epochs: the largest number of epochs; None if it is not on record.
    patience: the number of epochs without improvement after which training stops; None if it is not on record.
    """

    epochs: str | None
    patience: str | None

    @property
    def text(self) -> str:
        """The budget in words, such as `epochs 50, patience 20`."""
        return f"epochs {self.epochs}, patience {self.patience}"


def budget_of(runs: Sequence[RunRow]) -> Budget:
    """The budget of a line; all of its runs have the same settings."""
    settings = runs[0].settings
    return Budget(*(str(settings[name]) if name in settings else None for name in BUDGET))


def same_budget(a: Sequence[RunRow], b: Sequence[RunRow]) -> bool:
    """Whether two lines may be tested against each other.

    They may if their budgets are equal, or if `--set` gave both lines the same settings of the budget: then budgets
    differ only by the preset, where a patience of one method may be part of what its paper proposes.
    """
    asked = (asked_budget(runs[0].method, runs[0].asked_settings) for runs in (a, b))
    return budget_of(a) == budget_of(b) or len(set(asked)) == 1


def other_budgets(comparison: Comparison, baseline: str) -> list[str]:
    """The lines that may not be tested against the line `baseline`."""
    return [label for label, runs in comparison.lines.items() if not same_budget(runs, comparison.lines[baseline])]


def training_notes(comparison: Comparison) -> list[str]:
    """Notes of a table: the budgets if they differ, and the lines most of whose runs still improved at their end."""
    return _budgets(comparison) + epoch_notes(comparison)


def _budgets(comparison: Comparison) -> list[str]:
    users: dict[Budget, list[str]] = {}
    for label, runs in comparison.lines.items():
        users.setdefault(budget_of(runs), []).append(label)
    known = {budget: labels for budget, labels in users.items() if budget.epochs is not None}
    if len(known) < 2:
        return []
    told = "; ".join(f"{budget.text}: {', '.join(labels)}" for budget, labels in known.items())
    lines = list(comparison.lines.values())
    apart = any(not same_budget(a, b) for a in lines for b in lines)
    rule = ". Lines with other budgets than their baseline's are not tested against it" if apart else ""
    return [f"budgets differ: {told}{rule}"]


def epoch_notes(comparison: Comparison) -> list[str]:
    """Notes on the epochs that were tested: those that were the last ones, and those before a method's rule acted."""
    last, early = ", ".join(_unconverged(comparison)), ", ".join(_incomplete(comparison))
    notes = {
        f"not converged: the best epoch was the last one: {last}; more epochs may help (--set epochs=N)": last,
        "tested before all parts of their rule acted, as the best epoch by validation was an earlier one: "
        f"{early}; more epochs or patience=0 may help": early,
    }
    return [note for note, lines in notes.items() if lines]


def _unconverged(comparison: Comparison) -> list[str]:
    """The lines of which the best epoch was the last one in more than half of the runs."""
    told = []
    for label, runs in comparison.lines.items():
        ends = [(row.best_epoch, row.epochs) for row in runs]
        trained = [(best, last) for best, last in ends if best is not None and last]
        count = sum(best == last for best, last in trained)
        if trained and 2 * count > len(trained):
            told.append(f"{label} ({count} of {len(trained)} runs)")
    return told


def _incomplete(comparison: Comparison) -> list[str]:
    """The lines with runs whose tested epoch came before all parts of the method's rule acted."""
    told = []
    for label, runs in comparison.lines.items():
        early = [row for row in runs if row.best_epoch and row.best_epoch < row.complete_from]
        if early:
            told.append(f"{label} (from epoch {early[0].complete_from} on; {len(early)} of {len(runs)} runs)")
    return told


class Condition(NamedTuple):
    """A condition of training that changes a result by rounding.

    name: its name.
    read: its value of a run; "" if it is not on record.
    remedy: the end of the note: what else follows, and how runs get the same one.
    """

    name: str
    read: Callable[[RunRow], str]
    remedy: str


def device_of(row: RunRow) -> str:
    """The model of the device on which a run was trained, or its type where the model is not on record."""
    return row.device_name or row.device.partition(":")[0]


CONDITIONS = (
    Condition(
        "device", device_of, ", and their times cannot be compared. Train both on one device (--device, --force)"
    ),
    Condition("precision", lambda row: row.precision, ". Train both with the same --set precision"),
    Condition(
        "determinism",
        lambda row: "deterministic" if row.deterministic else "not deterministic",
        ". Train both with --deterministic or both without (--force)",
    ),
)


def conditions_of(row: RunRow) -> str:
    """Device, precision if it is not fp32, and determinism, such as `NVIDIA H100, bf16, deterministic`."""
    precision = row.precision if row.precision != "fp32" else ""
    parts = (device_of(row), precision, "deterministic" if row.deterministic else "")
    return ", ".join(filter(None, parts))


def mixed_notes(comparison: Comparison, baseline: str) -> list[str]:
    """A warning for each condition in which a run differs from the baseline's with the same seed and fold.

    The runs that one starts from count with it. baseline: the label of a line; no note if there is no such line.
    """
    if baseline not in comparison.lines:
        return []
    every = ((condition, _differing(comparison, baseline, condition)) for condition in CONDITIONS)
    return [
        f"WARNING: within pairs of runs with the same seed and fold {condition.name} differs from that of {baseline}: "
        f"{', '.join(told)}; their difference includes rounding{condition.remedy}"
        for condition, told in every
        if told
    ]


def _differing(comparison: Comparison, baseline: str, condition: Condition) -> list[str]:
    """The lines with pairs of which the condition differs, with its values and how many pairs these are."""
    by_key, base = {row.key: row for row in comparison.rows}, {row.pair: row for row in comparison.lines[baseline]}
    told = []
    for label, runs in comparison.lines.items():
        pairs = [(row, base[row.pair]) for row in runs if row.pair in base] if label != baseline else []
        mixed = [values for pair in pairs if len(values := _values(pair, by_key, condition)) > 1]
        if mixed:
            shown = ", ".join(dict.fromkeys(value for values in mixed for value in values))
            told.append(f"{label} ({shown}; {len(mixed)} of {len(pairs)} pairs)")
    return told


def _values(rows: Iterable[RunRow], by_key: Mapping[str, RunRow], condition: Condition) -> list[str]:
    """The values that runs and those that they start from have, each once; without those not on record."""
    every = [one for row in rows for one in (row, *(by_key[key] for key in row.dependencies if key in by_key))]
    return list(dict.fromkeys(filter(None, map(condition.read, every))))
