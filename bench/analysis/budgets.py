"""How long lines were trained: whose budgets differ, who stopped before it was done, who may be tested together."""

from collections.abc import Sequence
from dataclasses import dataclass

from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.settings.training import BUDGET, asked_budget


@dataclass(frozen=True)
class Budget:
    """At most so many epochs, and so many without improvement; None where the record does not say."""

    epochs: str | None
    patience: str | None

    @property
    def text(self) -> str:
        """In words."""
        return f"epochs {self.epochs}, patience {self.patience}"


def budget_of(runs: Sequence[RunRow]) -> Budget:
    """The budget of a line, whose runs share their settings."""
    settings = runs[0].settings
    return Budget(*(str(settings[name]) if name in settings else None for name in BUDGET))


def same_budget(a: Sequence[RunRow], b: Sequence[RunRow]) -> bool:
    """Whether two lines may share a family of tests.

    Either their budgets are equal, or both are as their preset gives them and what was set beside it is the same: the
    patience of one method alone may be part of what its paper proposes.
    """
    asked = (asked_budget(runs[0].method, runs[0].asked_settings) for runs in (a, b))
    return budget_of(a) == budget_of(b) or len(set(asked)) == 1


def other_budgets(comparison: Comparison, baseline: str) -> list[str]:
    """The lines that may not be tested against the line `baseline`."""
    return [label for label, runs in comparison.lines.items() if not same_budget(runs, comparison.lines[baseline])]


def training_notes(comparison: Comparison) -> list[str]:
    """Budgets where they differ, and the lines most of whose runs were still improving when they ended."""
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
    """Best epoch = last epoch in more than half of a line's runs; a line that trains nothing has no epochs."""
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
