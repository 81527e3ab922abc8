"""Training budgets of the lines of a comparison: which differ, which were too short, which may be tested together."""

from collections.abc import Sequence
from dataclasses import dataclass

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
    return _budgets(comparison) + unconverged_notes(comparison)


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


def unconverged_notes(comparison: Comparison) -> list[str]:
    """A note that names the lines of which the best epoch was the last one in more than half of the runs."""
    told = []
    for label, runs in comparison.lines.items():
        ends = [(row.best_epoch, row.epochs) for row in runs]
        trained = [(best, last) for best, last in ends if best is not None and last]
        count = sum(best == last for best, last in trained)
        if trained and 2 * count > len(trained):
            told.append(f"{label} ({count} of {len(trained)} runs)")
    return (
        [f"not converged: the best epoch was the last one: {', '.join(told)}; more epochs may help (--set epochs=N)"]
        if told
        else []
    )
