"""The command `tune`; its heavy imports wait inside the function."""

from pathlib import Path
from typing import Annotated

import typer

from mcr_bench.bench.commands.options import (
    AsJson,
    DataRoot,
    Deterministic,
    Device,
    ExecutorName,
    Fixed,
    Fold,
    Jobs,
    Modalities,
    PlanOnly,
    PresetName,
    ProtocolName,
    RayAddress,
    Resources,
    RunsPerGpu,
    Timeout,
)
from mcr_bench.bench.commands.verb import verb


@verb
def tune(
    methods: Annotated[str, typer.Option(help="`all`, or a comma list of names and of .py files.")],
    dataset: Annotated[str, typer.Option(help="One dataset, or one .npz file.")],
    trials: Annotated[
        int, typer.Option(min=2, help="Trials per method: the preset's settings, then random ones.")
    ] = 20,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds per trial; comparisons use other seeds.")] = 1,
    modalities: Modalities = None,
    fold: Fold = None,
    protocol: ProtocolName = None,
    preset: PresetName = None,
    settings: Fixed = None,
    name: Annotated[str | None, typer.Option(help="Name of the preset. Default: tuned@TRIALS.")] = None,
    data_root: DataRoot = Path("data"),
    jobs: Jobs = None,
    device: Device = "auto",
    runs_per_gpu: RunsPerGpu = None,
    deterministic: Deterministic = False,
    executor: ExecutorName = "local",
    ray_address: RayAddress = None,
    resources: Resources = None,
    timeout: Timeout = None,
    plan_only: PlanOnly = False,
    as_json: AsJson = False,
) -> None:
    """Search every method's settings with the same budget, on validation alone, and write the best as a preset."""
    from mcr_bench.bench.commands.running import How
    from mcr_bench.bench.commands.tuning import run_search
    from mcr_bench.bench.executors import chosen as executors
    from mcr_bench.bench.settings.arguments import parse_names, parse_settings
    from mcr_bench.bench.tuning.request import TuneRequest

    how = How(
        executors.executor(executor),
        jobs,
        device,
        runs_per_gpu=runs_per_gpu,
        deterministic=deterministic,
        address=ray_address,
        resources=resources,
        timeout=timeout,
    )
    request = TuneRequest(
        methods=parse_names("--methods", methods),
        dataset=dataset,
        trials=trials,
        seeds=seeds,
        data_root=data_root,
        modalities=None if modalities is None else tuple(parse_names("--modalities", modalities)),
        fold=fold,
        protocol=protocol,
        preset=preset,
        overrides=parse_settings(settings or []),
        name=name,
    )
    if not run_search(request, how, plan_only, as_json):
        raise typer.Exit(1)
