"""Run a plan: show it, train the runs that are not finished, and show the results."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from mcr_bench.bench.analysis.comparisons import asked_under, comparisons
from mcr_bench.bench.analysis.floors import with_floors
from mcr_bench.bench.analysis.table import Table, comparison_table
from mcr_bench.bench.commands.console import SafeConsole
from mcr_bench.bench.commands.output import print_json, say
from mcr_bench.bench.commands.reading import left_out
from mcr_bench.bench.core.behaviour import keep_digests
from mcr_bench.bench.core.device import require_known
from mcr_bench.bench.core.guard import attempt
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.executors.base import Executor, TrainingPlan
from mcr_bench.bench.executors.chosen import carry_out
from mcr_bench.bench.executors.cluster.resources import parse_resources
from mcr_bench.bench.executors.local import LocalExecutor
from mcr_bench.bench.executors.pool import check_sharing, on_gpus, worker_count
from mcr_bench.bench.planning.advice.again import trained_again
from mcr_bench.bench.planning.advice.determinism import require_deterministic, trained_without
from mcr_bench.bench.planning.advice.other_family import planned_otherwise
from mcr_bench.bench.planning.estimate import estimate
from mcr_bench.bench.planning.experiment import Choices, Experiment, read_experiment
from mcr_bench.bench.planning.plan import Plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.record.row import Asked, RunRow
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.report import terminal
from mcr_bench.bench.report.fitted import grid_text, terminal_width, wrapped
from mcr_bench.bench.report.progress import observer
from mcr_bench.bench.report.results import result_data
from mcr_bench.bench.runs.events import Failure, Outcome
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.runs.words import counted
from mcr_bench.bench.settings.arguments import parse_duration


def requests_of(experiment: str | None, choices: Choices) -> tuple[list[Request], Experiment | None]:
    """The requests of a command, and its experiment if there is one.

    They are the comparisons of the experiment, changed by the options, or a request made of the options alone.
    """
    if experiment is not None:
        asked = read_experiment(experiment)
        return asked.requests(choices), asked
    for names, option in ((choices.methods, "--methods"), (choices.datasets, "--dataset")):
        if names is None:
            raise UserError(f"{option} is missing. Give it, or the file of an experiment (figure1.toml is one).")
    given = {name: value for name, value in vars(choices).items() if name != "settings"}
    return [Request(**given, overrides=choices.settings)], None


def show_plan(plan: Plan, finished: set[str], rows: list[RunRow], workers: int, as_json: bool) -> None:
    """Every run with its state, what is left out or not offered here, and how long the rest will take."""
    lines = terminal.plan_rows(plan, finished)
    wanted = [run for run in plan.runs if run.key not in finished]
    plan.announcements += trained_again(wanted, rows)
    plan.announcements += planned_otherwise(plan, {run.key for run in wanted}, rows)
    guess = estimate(wanted, rows, workers)
    if as_json:
        absent = [vars(one) | {"text": one.text} for one in plan.absent]
        content = {"data": data_of(plan), "runs": lines, "skipped": plan.skipped, "absent": absent}
        content |= {"announcements": plan.announcements}
        return print_json(content | {"estimate": vars(guess) | {"text": guess.text}})
    for one in plan.overviews:
        say(wrapped(one.text, terminal_width()))
    if lines:
        say(grid_text(lines))
    for dataset, method, reason in plan.skipped:
        say(f"left out on {dataset}: {method}: {reason}")
    for text in (*(one.text for one in plan.absent), *_untold(plan)):
        say(text)
    runs = counted(len(lines))
    say(f"{runs}, {len(finished)} finished, {len(wanted)} to train.")
    amounts = [one.runs for one in plan.absent if one.runs is not None]
    if plan.absent:
        say(f"{sum(amounts)} more runs are requested that cannot be made here.")
    say(guess.text)


@dataclass(frozen=True)
class How:
    """How runs are to be trained; a UserError if the choices do not fit together.

    executor: what trains them.
    jobs: how many at a time; None for as many as the executor has room for.
    device: auto, cpu, cuda, cuda:N or mps.
    force: what is asked for although it is finished.
    keep_weights: with the best weights of every run kept.
    runs_per_gpu: how many may share a GPU; None for one, or as many as `jobs` asks for.
    deterministic: with algorithms alone that give the same bits every time.
    address: the address of the executor's cluster; None for the executor's default.
    resources: what one run takes of a node there, as on the command line; None for the executor's default.
    timeout: the time after which a run is ended, as a user writes it (2h); None for no limit.
    """

    executor: Executor
    jobs: int | None = None
    device: str = "auto"
    force: bool = False
    keep_weights: bool = False
    runs_per_gpu: int | None = None
    deterministic: bool = False
    address: str | None = None
    resources: str | None = None
    timeout: str | None = None

    def __post_init__(self) -> None:
        require_known(self.device)
        for option, value in (("--ray-address", self.address), ("--resources", self.resources)):
            if value is not None and self.here:
                raise UserError(f"{option} says how a cluster is used. Add --executor ray, or leave it out.")
        self.needs()
        if self.runs_per_gpu is not None:
            check_sharing(self.device, self.runs_per_gpu)
        if self.timeout is not None:
            parse_duration("--timeout", self.timeout)
            if not self.here:
                raise UserError(
                    "--timeout ends processes of this machine alone. Leave it out, or leave out --executor."
                )

    @property
    def here(self) -> bool:
        """Whether runs are trained on this machine, and nowhere else."""
        return isinstance(self.executor, LocalExecutor)

    @property
    def workers(self) -> int:
        """How many runs are trained at a time, as far as it is known before the first one starts."""
        return worker_count(self.device, self.jobs, self.runs_per_gpu) if self.here else self.jobs or 1

    def needs(self) -> dict[str, float] | None:
        """What one run takes of a node; UserError for a text that says nothing of this."""
        return None if self.resources is None else parse_resources(self.resources)

    def check(self, runs: Iterable[RunSpec]) -> None:
        """UserError if a run cannot be trained in this way."""
        if self.deterministic:
            require_deterministic(runs)

    def notes(self) -> list[str]:
        """What a user should know of the device before training."""
        notes = []
        if self.device == "mps":
            notes.append("mps is untested: results may be wrong. One run is trained at a time.")
        if self.here and self.runs_per_gpu is not None and not on_gpus(self.device):
            notes.append(f"--runs-per-gpu {self.runs_per_gpu} has no effect: there is no GPU, and runs use the CPU.")
        return notes

    def plan(
        self, runs: Sequence[RunSpec], done: int, keep_weights: Callable[[RunSpec], bool], forced: Collection[str] = ()
    ) -> TrainingPlan:
        """The plan for an executor to train these runs.

        done: how many of the comparison are finished. forced: the keys of those that are trained even if finished.
        """
        return TrainingPlan(
            runs,
            done=done,
            jobs=self.jobs,
            device=self.device,
            force=lambda run: run.key in forced,
            keep_weights=keep_weights,
            deterministic=self.deterministic,
            runs_per_gpu=self.runs_per_gpu,
            address=self.address,
            resources=self.needs(),
            timeout=None if self.timeout is None else parse_duration("--timeout", self.timeout),
        )


def run_plan(plan: Plan, finished: set[str], record: Record, how: How) -> tuple[Outcome, list[RunRow]]:
    """Train the runs that are not finished, with `force` all requested ones, and show the progress on stderr.

    Returns what came of it, and the rows of the plan's runs, as `rows_of` gives them.
    """
    again = plan.requested if how.force else set()
    wanted = [run for run in plan.runs if run.key not in finished or run.key in again]
    rows = list(_on_record(plan, record))
    if unnoted := _unnoted(plan, finished, rows):
        _record_presets(plan, unnoted, record)
        rows = list(_on_record(plan, record))
    plan.announcements += trained_again([run for run in plan.runs if run.key not in finished], rows)
    plan.announcements += planned_otherwise(plan, {run.key for run in wanted}, rows)
    told = [*(one.text for one in plan.overviews), *(one.text for one in plan.absent), *_untold(plan), *how.notes()]
    for line in told:
        say(wrapped(line, terminal_width(err=True)), err=True)
    if how.deterministic:
        for line in trained_without(rows, finished - again):
            say(line, err=True)
    guess = estimate(wanted, rows, how.workers)
    if len(wanted) > guess.unknown:
        say(guess.text, err=True)
    keep_digests(record.home)
    training = how.plan(
        wanted,
        len(plan.runs) - len(wanted),
        lambda run: how.keep_weights or run.role == "unimodal",  # a later comparison may start from these
        again,
    )
    with observer(SafeConsole(stderr=True)) as watching:
        outcome = carry_out(how.executor, training, record, watching)
    _record_presets(plan, {run.key for run in outcome.finished}, record)
    return outcome, rows_of(plan, record, list(_on_record(plan, record)) if wanted else rows)


def _unnoted(plan: Plan, finished: set[str], rows: Iterable[RunRow]) -> set[str]:
    """The finished keys whose rows lack a preset of the plan, or that have no row: reading all again takes seconds.

    Presets that only an older run of a key has, and that this plan does not ask for, wait until one does.
    """
    noted = {row.key for row in rows if plan.by_preset.get(row.key, {}).keys() <= row.asked.keys()}
    return finished - noted


def _record_presets(plan: Plan, finished: Iterable[str], record: Record) -> None:
    """Note requested presets in finished runs: a run that belongs to two presets is in the tables of both."""
    record.add_presets(run for key in finished for run in plan.by_preset.get(key, {}).values())


def rows_of(plan: Plan, record: Record, recorded: Iterable[RunRow]) -> list[RunRow]:
    """The rows of the plan's runs, under the presets and the names of data of the plan only.

    Runs that are on record with another name of the same data count too, and stderr says so. recorded: the rows of the
    record on the plan's datasets.
    """
    rows = [row for row in recorded if row.key in plan.by_key]
    missing = plan.by_key.keys() - {row.key for row in rows if row.finished}
    renamed = record.finished(missing) if missing else {}
    for name in sorted({row.dataset for row in renamed.values()}):
        mine = [plan.by_key[row.key].dataset for row in renamed.values() if row.dataset == name]
        say(
            f"{counted(len(mine))} on {', '.join(sorted(set(mine)))} {'is' if len(mine) == 1 else 'are'} on record as "
            f"{'one' if len(mine) == 1 else 'runs'} on {name}, which has the same data. The tables have them; "
            f"`mcr-bench compare` has them under {name}.",
            err=True,
        )
    rows = [row for row in rows if row.key not in renamed]
    rows += [_as_asked(row, plan) for row in renamed.values()]
    rows.sort(key=lambda row: row.place)
    return [asked_under(row, plan.by_preset[row.key]) for row in rows]


def _as_asked(row: RunRow, plan: Plan) -> RunRow:
    """A row under the name that the plan has for its data, and under the presets of the plan, too."""
    spec, presets = plan.by_key[row.key], plan.by_preset[row.key]
    asked = {name: Asked(one.preset_origin, one.overrides) for name, one in presets.items() if name != row.preset}
    others = asked | dict(row.other_presets)
    return replace(row, dataset=spec.dataset, dataset_source=spec.dataset_source, other_presets=others)


def _on_record(plan: Plan, record: Record) -> Iterator[RunRow]:
    """All rows of the record on the plan's datasets."""
    for dataset in {run.dataset for run in plan.runs}:
        yield from record.rows(dataset)


def _untold(plan: Plan) -> list[str]:
    """The announcements that are not in an overview of the data."""
    told = {f"{one.dataset}: {notice}." for one in plan.overviews for notice in one.notices}
    return [line for line in plan.announcements if line not in told]


def data_of(plan: Plan) -> list[dict[str, object]]:
    """The overviews of the plan's data, for JSON."""
    return [one.data for one in plan.overviews]


def show_outcome(
    plan: Plan, failed: Sequence[Failure], rows: list[RunRow], record: Record, baseline: str, as_json: bool
) -> None:
    """Print the tables of the plan's runs on stdout, and failures on stderr."""
    tables = attempt(partial(_tables, plan, rows, record, baseline), _without_tables)
    for failure in failed:
        spec = failure.spec
        say(f"failed: {spec.label} on {spec.dataset}, seed {spec.seed}: {failure.told}", err=True)
    if not as_json:
        return terminal.print_tables(SafeConsole(), tables)
    content = {"tables": [terminal.table_data(table) for table in tables], "runs": [result_data(row) for row in rows]}
    content["failed"] = [{"key": f.spec.key, "reason": f.reason, "log": f.log and str(f.log)} for f in failed]
    print_json(content | {"data": data_of(plan), "skipped": plan.skipped, "announcements": plan.announcements})


def _tables(plan: Plan, rows: list[RunRow], record: Record, baseline: str) -> list[Table]:
    skipped = [*plan.skipped, *left_out(record)]
    known = comparisons(rows, baseline, skipped, plan.skipped_under)
    return [comparison_table(one, baseline) for one in with_floors(known, record.floors)]


def _without_tables(reason: str) -> list[Table]:
    """Print why there are no tables; the runs are recorded nevertheless."""
    say(f"left out: tables: {reason}", err=True)
    return []
