"""Choose the runs of a record: `--dataset` takes a name in tables, or any path that `run` takes."""

from collections.abc import Sequence

from mcr_bench.bench.commands.output import say
from mcr_bench.bench.errors import unknown
from mcr_bench.bench.record.given_data import Given, meant
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
    mine, named = meant(asked, rows, lambda row: Given(row.dataset, row.dataset_source, row.fingerprint))
    if named:
        files = ", ".join(sorted({f"'{row.dataset_source or row.dataset}'" for row in named}))
        say(
            f"no run was given '{asked}'; these are the runs on {named[0].dataset} that were given as {files}.",
            err=True,
        )
    return mine or named
