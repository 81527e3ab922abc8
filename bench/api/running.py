"""`run`: a comparison planned, trained and recorded as the command line does it, from Python."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mcr_bench.bench.api import given
from mcr_bench.bench.api.objects import Own, dataset_name, method_name, setting_values
from mcr_bench.bench.api.results import Comparison
from mcr_bench.bench.commands.output import open_record
from mcr_bench.bench.commands.running import How, run_plan
from mcr_bench.bench.core.faults.streams import replace_closed
from mcr_bench.bench.core.home import usable
from mcr_bench.bench.core.interrupts import check, remembered
from mcr_bench.bench.errors import UserError, one_line
from mcr_bench.bench.executors import chosen as executors
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.settings.arguments import seeds_of
from mcr_bench.methods import BASELINE, COST_BASELINE

Named = str | Path | Own


def run(
    methods: Named | Sequence[Named],
    dataset: Named | Sequence[Named],
    *,
    seeds: int | Sequence[int] | None = None,
    settings: Mapping[str, object] | None = None,
    modalities: Sequence[str] | None = None,
    protocol: str | None = None,
    fold: int | None = None,
    preset: str | None = None,
    family: Sequence[str] | None = None,
    data_root: str | Path = "data",
    jobs: int | None = None,
    device: str = "auto",
    runs_per_gpu: int | None = None,
    deterministic: bool = False,
    executor: str = "local",
    tracking_uri: str | None = None,
    keep_weights: bool = False,
    force: bool = False,
) -> Comparison:
    """Train every method on every dataset over the seeds, and return what came of it.

    It is the plan, the record and the progress of `mcr-bench run`, whose options have the same names: what is finished
    is not trained again, and a call that was interrupted continues where it stopped. Runs that fail are in `failed` of
    the result. The record is in MCR_BENCH_HOME or `./results`, unless `tracking_uri` or MLFLOW_TRACKING_URI names
    another one.

    methods: names, groups, `all`, files, or classes that derive from `Method`. dataset: likewise names, files of data,
    or classes that derive from `Dataset`. seeds: N for the seeds 0 to N - 1, or a list. settings: dotted key -> value,
    or a list of values for a grid; the value of `encoder.MODALITY.kind` and `model.fusion` may be a class that derives
    from `torch.nn.Module`, or a function that makes a network. UserError for whatever is unknown or does not fit.
    """
    replace_closed()  # as in a service without a terminal; progress has to go somewhere
    with remembered():
        request = Request(
            methods=[method_name(one) for one in _several("methods", methods)],
            datasets=[dataset_name(one) for one in _several("dataset", dataset)],
            data_root=usable(given.path("data_root", data_root), "data_root"),
            modalities=None if modalities is None else tuple(_names("modalities", modalities)),
            seeds=None if seeds is None else _seeds(seeds),
            fold=None if fold is None else given.whole("fold", fold, 1),
            protocol=None if protocol is None else given.text("protocol", protocol),
            preset=None if preset is None else given.text("preset", preset),
            family=None if family is None else _names("family", family),
            overrides=setting_values({} if settings is None else given.mapping("settings", settings)),
        )
        how = How(
            executors.executor(given.text("executor", executor)),
            None if jobs is None else given.whole("jobs", jobs, 1),
            given.text("device", device),
            given.flag("force", force),
            given.flag("keep_weights", keep_weights),
            None if runs_per_gpu is None else given.whole("runs_per_gpu", runs_per_gpu, 1),
            given.flag("deterministic", deterministic),
        )
        plan = make_plan(request)
        how.check(plan.runs)
        record = open_record(None if tracking_uri is None else given.text("tracking_uri", tracking_uri))
        record.deliver_owed()
        outcome, rows = run_plan(plan, record.finished_keys(plan.by_key), record, how)
        check()
    return Comparison(record, rows, plan.skipped, outcome.failed, BASELINE, COST_BASELINE, plan.skipped_under)


def _several(option: str, given: object) -> list[object]:
    """What was given, one or several; UserError for nothing."""
    several = list(given) if isinstance(given, list | tuple) else [given]
    if not several:
        raise UserError(f"{option} is empty. Give at least one.")
    return several


def _names(option: str, several: Sequence[str]) -> list[str]:
    return [given.text(option, name) for name in _several(option, several)]


def _seeds(seeds: object) -> list[int]:
    try:
        if isinstance(seeds, Iterable) and not isinstance(seeds, str):
            several: int | list[int] = [given.whole("seeds", seed, 0) for seed in seeds]
        else:
            several = given.whole("seeds", seeds, 0)
    except (UserError, TypeError):  # of an array without an axis
        told = one_line(repr(seeds), given.LONGEST)
        raise UserError(f"seeds={told}: not allowed. Give how many seeds, or a list of whole numbers >= 0.") from None
    if several in (0, []):
        raise UserError("seeds: this means no seed, so nothing is trained. Give a number >= 1, or [0] for seed 0.")
    return seeds_of(several, f"seeds={seeds!r}")
