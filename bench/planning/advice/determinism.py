"""What `--deterministic` cannot be combined with, found before anything is trained."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.runs.spec import RunSpec

TF32 = "tf32"


def require_deterministic(runs: Iterable[RunSpec]) -> None:
    """UserError if a run asks for TF32, which `--deterministic` turns off."""
    for run in runs:
        if run.training.get("precision") == TF32:
            raise _refused(f"{run.label} has precision=tf32")


def require_deterministic_settings(settings: Mapping[str, Sequence[str]]) -> None:
    """The same for settings, dotted key -> values, before runs are made of them."""
    for key, values in settings.items():
        if key.rpartition(".")[2] == "precision" and TF32 in values:
            raise _refused(f"there is --set {key}=tf32")


def _refused(why: str) -> UserError:
    remedy = "Use precision=fp32 or precision=bf16, or leave out --deterministic"
    return UserError(f"--deterministic turns TF32 off, but {why}. {remedy}.")


def trained_without(rows: Iterable[RunRow], keys: Collection[str]) -> list[str]:
    """A note on the finished runs among these keys that were trained without `--deterministic`; it is not in a key."""
    count = sum(row.finished and row.key in keys and not row.deterministic for row in rows)
    if not count:
        return []
    runs = "1 run is finished that was" if count == 1 else f"{count} runs are finished that were"
    return [f"{runs} trained without --deterministic; --force trains again."]
