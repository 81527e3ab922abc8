"""Advice before training if the planned seeds are too few to show any difference."""

from collections.abc import Iterable

from mcr_bench.bench.runs.overrides import settings_in
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.settings.training import asked_budget
from mcr_bench.bench.statistics.power import Shortfall, shortfall


def seed_advice(runs: Iterable[RunSpec]) -> list[str]:
    """One line for each dataset with too few seeds, by the rule of `compare`, with one method as the baseline.

    As there, unimodal runs and methods outside the primary family are not tested, and runs with another budget of
    epochs form another family. A single method is assumed to be compared with one other method later.
    """
    lines: dict[tuple[str, object], dict[str, set[tuple[int, int]]]] = {}
    for run in runs:
        if run.role != "unimodal" and run.primary:
            budget = asked_budget(run.method, settings_in(run.overrides))
            place = (run.data_identity, run.modalities, run.preset, budget)
            lines.setdefault((run.dataset, place), {}).setdefault(run.label, set()).add((run.seed, run.fold))
    short = [(dataset, _shortfall(labels)) for (dataset, _), labels in lines.items()]
    return list(dict.fromkeys(f"{dataset}: {_sentence(one)}" for dataset, one in short if one))


def _shortfall(labels: dict[str, set[tuple[int, int]]]) -> Shortfall | None:
    return shortfall(max(map(len, labels.values())), max(1, len(labels) - 1))


def _sentence(short: Shortfall) -> str:
    seeds = "1 seed" if short.pairs == 1 else f"{short.pairs} seeds"
    others = "1 comparison" if short.comparisons == 1 else f"{short.comparisons} comparisons"
    return (
        f"{seeds} cannot show a difference at p < .05: after Holm over {others} the paired sign-flip test reaches "
        f"p = {short.smallest:.3g} at best; {short.needed} seeds can (--seeds {short.needed})."
    )
