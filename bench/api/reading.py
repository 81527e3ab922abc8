"""`results`, `predictions` and `describe`: the record and the cards, from Python."""

from pathlib import Path

import pandas as pd

from mcr_bench.bench.api.frames import runs_frame
from mcr_bench.bench.api.objects import any_name
from mcr_bench.bench.commands.choosing import chosen
from mcr_bench.bench.commands.output import open_record
from mcr_bench.bench.core.home import usable
from mcr_bench.bench.errors import UserError, one_line, unknown
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.report.cards import card_of, card_text


class Card(dict[str, object]):
    """The declared facts of a method, dataset, encoder or fusion head: a dict that shows as text."""

    def __repr__(self) -> str:
        return card_text(self)


def results(dataset: str | None = None, method: str | None = None, tracking_uri: str | None = None) -> pd.DataFrame:
    """One row per run of the record, indexed by key: every field, setting and metric, as docs/record.md lists them.

    Columns are those of `mcr-bench results --csv`, such as `metrics.test/accuracy` and `settings.optimizer.lr`.
    UserError for a dataset or a method that the record does not have.
    """
    return runs_frame(chosen(open_record(tracking_uri).rows(), dataset, method))


def predictions(run: str | RunRow | pd.Series, tracking_uri: str | None = None) -> pd.DataFrame:
    """The predictions of a run: one row per sample of the parts `val` and `test`.

    Columns: `part`, `id`, `group`, `label`; and lists of C numbers: `logits` of all modalities together, `modality/M`
    of M alone, `split/M`, the share of M in an additive head's logits, and `subset/M1+M2` of some modalities, `subset/`
    of none. docs/python.md has all of them, and an example.

    run: its key, or the beginning of it; a row of `results()`, or one of `Comparison.rows`. UserError where the run has
    no predictions, or where they are damaged.
    """
    record, key = open_record(tracking_uri), _key(run)
    rows = [row for row in record.rows() if row.key.startswith(key)] if key else []
    if len(rows) != 1:
        if rows:
            raise UserError(f"'{key}' is the beginning of {len(rows)} keys. Give more of it.")
        raise unknown("run", key, [row.key for row in record.rows()])
    return record.predictions(rows[0].run_id)


def _key(run: object) -> str:
    if isinstance(run, RunRow):
        return run.key
    if not isinstance(run, str | pd.Series):
        raise UserError(
            f"predictions of {one_line(repr(run), 60)}: give the key of a run, a row of results(), or one of "
            "Comparison.rows."
        )
    return run if isinstance(run, str) else str(run.name)


def describe(name: object, data_root: str | Path = "data") -> Card:
    """The card of a method, dataset, encoder or fusion head: its facts, its settings and where it is from.

    name: whatever `run` takes: a registered name, a file, a class of a module, a script or a notebook, or a function
    that makes a network. UserError for anything else.
    """
    return Card(card_of(any_name(name), usable(data_root, "data_root")))
