"""Options that several commands share. The module is imported at start-up, so it imports nothing heavy."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mcr_bench.bench.credentials import conceal


class Listed(StrEnum):
    METHODS = "methods"
    DATASETS = "datasets"
    ENCODERS = "encoders"
    FUSIONS = "fusions"
    HEADS = "heads"
    PRESETS = "presets"
    EXPERIMENTS = "experiments"
    FIGURES = "figures"


class WhichPublished(StrEnum):
    ALL = "all"
    MINE = "mine"


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else on it.")]
DataRoot = Annotated[Path, typer.Option(envvar="MCR_BENCH_DATA_ROOT", help="Parent folder of the prepared datasets.")]
TrackingUri = Annotated[
    str | None,
    typer.Option(callback=conceal, help="MLflow tracking URI. Default: MLFLOW_TRACKING_URI, else results/mlflow.db."),
]
Methods = Annotated[
    str | None,
    typer.Option(
        help="Comma list of names, of .py files that define a method, and of words that select several: all, table1, "
        "primary, or a group. Example: joint,./mine.py,modulation"
    ),
]
Family = Annotated[
    str | None,
    typer.Option(
        help="Methods of the primary test, at most 8, named before training; others are explored. Default: all where "
        "there are at most 8, else the selection `primary`."
    ),
]
Modalities = Annotated[str | None, typer.Option(help="Train on these modalities only: a comma list. Default: all.")]
Fold = Annotated[int | None, typer.Option(help="Use this fold for every seed. Default: folds take turns.")]
ProtocolName = Annotated[str | None, typer.Option("--protocol", help="Protocol of the dataset. Default: its first.")]
PresetName = Annotated[str | None, typer.Option("--preset", help="A preset (`mcr-bench list presets`).")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value, repeatable: epochs=5, optimizer.lr=1e-3. key=a,b tries both values."),
]
Fixed = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value, repeatable: epochs=5. The same in all trials, and not searched."),
]
Dials = Annotated[
    list[str] | None, typer.Option("--set", help="dataset.key=value, repeatable: how the data is prepared.")
]
DatasetName = Annotated[
    str,
    typer.Argument(help="A dataset (`mcr-bench list datasets`), a file of data, or a .py file that defines a dataset."),
]
Jobs = Annotated[
    int | None, typer.Option(min=1, help="Worker processes. Default: one per core, on GPUs as --runs-per-gpu says.")
]
Device = Annotated[
    str,
    typer.Option(
        help="auto (all GPUs by CUDA, else the CPU), cpu, cuda (all GPUs, dealt out in turn), cuda:N (GPU N alone), or "
        "mps (untested)."
    ),
]
RunsPerGpu = Annotated[
    int | None,
    typer.Option(
        "--runs-per-gpu",
        min=1,
        help="Runs that share a GPU, while its memory suffices. Default: 1, or as many as --jobs gives.",
    ),
]
Deterministic = Annotated[
    bool,
    typer.Option(
        "--deterministic", help="Only algorithms that give the same bits every time on one device; slower on GPUs."
    ),
]
Timeout = Annotated[
    str | None,
    typer.Option(
        "--timeout",
        help="End a run that takes longer, such as 90s, 30m or 1h30m: it fails, the others go on, and the same command "
        "continues it. With --executor local. Default: no limit.",
    ),
]
ExecutorName = Annotated[
    str,
    typer.Option("--executor", help="What trains the runs: local, ray, or an installed one (docs/executors.md)."),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        help="A Ray cluster: HOST:6379, or auto on one of its machines. Default: RAY_ADDRESS, else this machine alone."
    ),
]
Resources = Annotated[
    str | None,
    typer.Option(help="What a cluster keeps for one run: cpu=2,gpu=0.5. Default: cpu=1, and a GPU if there is any."),
]
ShardName = Annotated[
    str | None,
    typer.Option("--shard", metavar="I/N", help="Part I of N of the plan, for N machines (docs/many-machines.md)."),
]
ServerWait = Annotated[
    float | None,
    typer.Option(
        "--server-wait",
        min=0,
        help="Seconds to wait at the end for a tracking server that does not answer. Default: 60. What it lacks is "
        "kept on disk, and delivered by the next run.",
    ),
]
PlanOnly = Annotated[bool, typer.Option("--plan", help="Show what would be trained, and train nothing.")]
OneDataset = Annotated[
    str | None, typer.Option("--dataset", help="Only this dataset: its name in tables, or the file given to `run`.")
]
Published = Annotated[
    WhichPublished,
    typer.Option("--published", help="Published tables: all, or mine: those with a column on your data."),
]
Baseline = Annotated[str, typer.Option(help="The method, or line of a table, that others are tested against.")]
OfKeys = Annotated[
    list[str] | None,
    typer.Option("--key", help="Only runs whose key or run id begins with this; repeatable, at least 4 characters."),
]
OfMethods = Annotated[str | None, typer.Option("--method", help="Comma list: only runs of these methods.")]
OfDatasets = Annotated[str | None, typer.Option("--dataset", help="Comma list: only runs on these datasets.")]
OfSeeds = Annotated[str | None, typer.Option("--seeds", help="As for run: 3 is 0,1,2; `5,` is seed 5 alone.")]
