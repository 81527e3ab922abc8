"""All figures: their names, what they show, and a function that draws all of them for a set of comparisons."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar, cast

import pandas as pd
from matplotlib.figure import Figure

from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.names import cut_all
from mcr_bench.bench.analysis.ranking import rank_datasets
from mcr_bench.bench.analysis.sweeps import sweeps
from mcr_bench.bench.core.guard import attempt
from mcr_bench.bench.errors import unknown
from mcr_bench.bench.figures.budget import budget
from mcr_bench.bench.figures.contribution import contribution
from mcr_bench.bench.figures.error_groups import Read, error_groups
from mcr_bench.bench.figures.forest import forest
from mcr_bench.bench.figures.methods import methods
from mcr_bench.bench.figures.pareto import pareto
from mcr_bench.bench.figures.race import History, race
from mcr_bench.bench.figures.ranks import rank_diagram
from mcr_bench.bench.figures.style import Marks, Missing, marks
from mcr_bench.bench.figures.sweep import sweep_figure
from mcr_bench.bench.figures.values import without_roles
from mcr_bench.bench.problem.metrics import CLASSIFICATION
from mcr_bench.bench.statistics.ranks import Ranks

LONGEST_STEM = 120
T = TypeVar("T")


@dataclass(frozen=True)
class Card:
    """What a figure is.

    name: its name on the command line.
    title: its title.
    shows: what it shows, in one sentence.
    """

    name: str
    title: str
    shows: str


CARDS = {
    card.name: card
    for card in (
        Card("methods", "Methods", "Test metric of every method with 95 % t interval and single runs as dots; lines: "
             "the ensemble and the best unimodal model."),
        Card("forest", "Differences to the baseline", "Paired differences to the baseline with 95 % intervals, filled "
             "where the exact sign-flip test is significant after Holm."),
        Card("race", "Training race", "Validation metric of each modality, its share of the gradient norms and its "
             "coefficient, per epoch and method."),
        Card("pareto", "Result against cost", "Test metric against step time and encoder passes relative to the "
             "baseline of costs; the line is the Pareto front by passes."),
        Card("errors", "Error groups", "Accuracy of each method on the test samples that all, one or none of the "
             "unimodal models get right."),
        Card("contribution", "Modality contributions", "Shapley value of each modality for each method's test result, "
             "with 95 % intervals; from five modalities on estimated from some of their subsets."),
        Card("ranks", "Ranks across datasets", "Mean ranks of the methods over datasets, with Nemenyi's critical "
             "difference where there are enough datasets."),
        Card("sweep", "Sweep of the data", "Test metric of each method against the dials of the dataset that were "
             "swept, with 95 % intervals."),
        Card("budget", "Tuning budget", "Best validation value to be expected from tuning against the number of "
             "trials."),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Sources:
    """What figures read besides rows. A figure whose source is None is left out; a text is the reason why.

    cost_baseline: the method whose costs those of others are divided by.
    order: the names of methods whose colours are fixed: those of the registry.
    baseline: the label or method of the forest figure; None for the ensemble.
    alpha: the level of the primary test.
    history: gives metric -> (epoch, value) for a run id.
    samples: gives the test samples of run ids.
    ranks: the ranks across datasets; None to compute them.
    budgets: a table with the columns dataset, protocol, modalities, method, budget, expected and, if known, preset and
    metric (by default accuracy).
    """

    cost_baseline: str
    order: Sequence[str] = ()
    baseline: str | None = None
    alpha: float = 0.05
    history: History | None = None
    samples: Read | None = None
    ranks: Ranks | None = None
    budgets: pd.DataFrame | str | None = None


class Drawn(NamedTuple):
    """A figure, or the reason why it is left out.

    card: what the figure is.
    about: the data that it shows.
    stem: the name of its files, different for each figure.
    result: the figure, or the reason.
    """

    stem: str
    result: Figure | str
    card: Card
    about: str


class Task(NamedTuple):
    """A figure to be drawn.

    card: what the figure is.
    about: the data that it shows.
    file: what the name of its files has besides the figure's name.
    draw: draws it.
    """

    card: Card
    file: Sequence[str]
    about: str
    draw: Callable[[], Figure]


def all_figures(comparisons: Sequence[Comparison], sources: Sources, only: Collection[str] = ()) -> Iterator[Drawn]:
    """Draw all figures, or those named in `only`, one after another. UserError for an unknown name."""
    for name in only:
        if name not in CARDS:
            raise unknown("figure", name, CARDS)
    tasks = list(_tasks(comparisons, sources, look_of(comparisons, sources)))
    stems = cut_all([_stem(task) for task in tasks], LONGEST_STEM, gap="--")
    for task, stem in zip(tasks, stems, strict=True):
        if not only or task.card.name in only:
            yield Drawn(stem, attempt(partial(_result, task.draw), str), task.card, task.about)


def look_of(comparisons: Iterable[Comparison], sources: Sources) -> Marks:
    """Label -> its mark in all figures."""
    known = list(comparisons)
    roles = {label: runs[0].role for comparison in known for label, runs in comparison.lines.items()}
    tuned = list(sources.budgets["method"].astype(str)) if isinstance(sources.budgets, pd.DataFrame) else []
    ranked = dict.fromkeys(sources.ranks.mean_ranks if sources.ranks else (), "method")
    named = {
        runs[0].method: runs[0].role for comparison in known for runs in without_roles(comparison, "unimodal").values()
    }
    methods_of = {label: runs[0].method for comparison in known for label, runs in comparison.lines.items()}
    return marks(dict.fromkeys(tuned, "method") | ranked | named | roles, sources.order, methods_of)


def _tasks(comparisons: Sequence[Comparison], sources: Sources, look: Marks) -> Iterator[Task]:
    for comparison in comparisons:
        file = [
            comparison.dataset,
            "-".join(comparison.modalities),
            comparison.protocol,
            comparison.preset,
            *comparison.shared_names,
        ]
        file += [f"older data {comparison.data}"] if comparison.older else []
        for name, draw in _of_comparison(comparison, sources, look).items():
            yield Task(CARDS[name], file, comparison.title, draw)
    yield Task(
        CARDS["ranks"], [], "all datasets", lambda: rank_diagram(sources.ranks or rank_datasets(comparisons), look)
    )
    yield from _sweeps(comparisons, look)
    yield from _budgets(sources, look)


def _of_comparison(comparison: Comparison, sources: Sources, look: Marks) -> dict[str, Callable[[], Figure]]:
    return {
        "methods": lambda: methods(comparison, look),
        "forest": lambda: forest(comparison, look, sources.baseline, sources.alpha),
        "race": lambda: race(comparison, look, _given(sources.history, "the curves of runs were not read")),
        "pareto": lambda: pareto(comparison, look, sources.cost_baseline),
        "errors": lambda: error_groups(comparison, _given(sources.samples, "the predictions of runs were not read")),
        "contribution": lambda: contribution(comparison),
    }


def _sweeps(comparisons: Sequence[Comparison], look: Marks) -> Iterator[Task]:
    swept = attempt(partial(sweeps, comparisons), str)
    if isinstance(swept, str):
        yield Task(CARDS["sweep"], [], "all datasets", _missing(swept))
        return
    for sweep in swept:
        first = sweep.comparisons[0]
        file = [first.dataset, "-".join(first.modalities), first.protocol, first.preset]
        yield Task(CARDS["sweep"], file, f"{sweep.title} · {sweep.name}", partial(sweep_figure, sweep, look))
    if not swept:
        yield Task(CARDS["sweep"], [], "all datasets", _missing("no dataset was run with several values of a dial"))


def _budgets(sources: Sources, look: Marks) -> Iterator[Task]:
    if not isinstance(sources.budgets, pd.DataFrame) or sources.budgets.empty:
        reason = sources.budgets if isinstance(sources.budgets, str) else "nothing has been tuned"
        yield Task(CARDS["budget"], [], "all datasets", _missing(reason))
        return
    parts = [name for name in ("dataset", "protocol", "modalities", "preset") if name in sources.budgets]
    for key, curves in sources.budgets.groupby(parts):
        dataset, protocol, modalities, *preset = cast("tuple[str, str, str | tuple[str, ...], str]", key)
        used = modalities if isinstance(modalities, str) else "+".join(modalities)
        metric = str(curves["metric"].iloc[0]) if "metric" in curves else CLASSIFICATION[0].name
        about = " · ".join([dataset, used, f"protocol {protocol}", *(f"preset {name}" for name in preset)])
        yield Task(CARDS["budget"], [dataset, used, protocol, *preset], about, partial(budget, curves, look, metric))


def _given(source: T | None, reason: str) -> T:
    if source is None:
        raise Missing(reason)
    return source


def _missing(reason: str) -> Callable[[], Figure]:
    def draw() -> Figure:
        raise Missing(reason)

    return draw


def _result(draw: Callable[[], Figure]) -> Figure | str:
    try:
        return draw()
    except Missing as reason:
        return str(reason)


def _stem(task: Task) -> str:
    """A text as part of a file name, with letters, digits, dots and hyphens only."""
    return re.sub(r"[^\w.]+", "-", "-".join([task.card.name, *task.file])).strip("-.")
