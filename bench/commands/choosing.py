"""Choose the runs of a record: `--dataset` takes a name in tables, or any path that `run` takes."""

from collections.abc import Sequence
from pathlib import Path

from mcr_bench.bench.commands.output import say
from mcr_bench.bench.errors import unknown
from mcr_bench.bench.record.row import RunRow


def chosen(rows: Sequence[RunRow], dataset: str | None, method: str | None = None) -> list[RunRow]:
    """The rows of a dataset and a method, or of all with None; UserError for one of which the record has no run.

    dataset: its name in tables, or the path of a file, which need not be there any more. A path leaves out the runs of
    another file of the same name; where no run was given that path, the file may have moved: all runs on files of its
    name count, and stderr says so.
    """
    selected = list(rows) if dataset is None else _of_dataset(rows, dataset)
    names = {row.method for row in selected}
    if method is not None and names and method not in names:
        raise unknown("method on record", method, names)
    return [row for row in selected if method in (None, row.method)]


def _of_dataset(rows: Sequence[RunRow], asked: str) -> list[RunRow]:
    names, place = {row.dataset for row in rows}, _file(asked)
    if not rows or asked in names:
        return [row for row in rows if row.dataset == asked]
    if place.suffix == ".py" and (defined := {row.dataset for row in rows if _place(row) == place.resolve()}):
        return [row for row in rows if row.dataset in defined]
    if not place.suffix or place.name not in names:
        raise unknown("dataset on record", asked, names)
    named = [row for row in rows if row.dataset == place.name]
    data = {row.fingerprint for row in named if _place(row) == place.resolve()}
    if not data:
        given = ", ".join(sorted({f"'{row.dataset_source or place.name}'" for row in named}))
        say(f"no run was given '{asked}'; these are the runs on {place.name} that were given as {given}.", err=True)
    return [row for row in named if not data or row.fingerprint in data]


def _place(row: RunRow) -> Path | None:
    """The file that a run was given, as far as the present folder leads to it; None for a registered dataset."""
    source = _file(row.dataset_source)
    return source.resolve() if source.suffix else None


def _file(text: str) -> Path:
    """A path of `run`; of `./my_set.py:MySet` that of the file."""
    file, colon, _ = text.rpartition(".py:")
    return Path(f"{file}.py" if colon else text).expanduser()
