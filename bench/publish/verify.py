"""Check a submission: every number from its predictions, samples, settings and code. Nothing in it is executed."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.interrupts import check
from mcr_bench.bench.exchange.origins import Origin
from mcr_bench.bench.exchange.whole import RunFile, WholeRun
from mcr_bench.bench.publish.here import Data
from mcr_bench.bench.publish.numbers import CLOSE, number_checks
from mcr_bench.bench.publish.predicted import Predicted, Unsound, predictions_in
from mcr_bench.bench.publish.said import Said, Verified
from mcr_bench.bench.publish.samples import Across, beside
from mcr_bench.bench.publish.settings import Keys, code_check
from mcr_bench.bench.record.files.artifacts import PREDICTIONS, SCORES
from mcr_bench.bench.record.files.scores import UNREADABLE, scored, stored_scores
from mcr_bench.bench.record.made_rows import row_of
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.record.runs import StoredRun


def verified(archive: Origin, data_root: Path) -> Verified:
    """Check all runs of an archive. data_root: the folder of prepared datasets on this machine."""
    stored = archive.runs()
    rows = {run.tags["key"]: row_of(run) for run in stored}
    data, across = Data(data_root), Across()
    keys, said = Keys(rows, data.acting), list[Said]()
    for run in stored:
        check()
        row = rows[run.tags["key"]]
        said += [keys.check(row), code_check(row)]
        whole = archive.whole(run)
        parts = predictions_of(archive, run, row, predictions_file(whole))
        if isinstance(parts, Said):
            said.append(parts)
            continue
        said += number_checks(row, parts)
        said += scores_checks(archive, run, row, whole, parts["test"])
        said += beside(row, parts, data.here(row))
        across.add(row, parts)
    said += across.checks()
    names = (_names(row.method for row in rows.values()), _names(row.dataset for row in rows.values()))
    return Verified(archive.name, len(stored), *names, said)


def predictions_file(whole: WholeRun) -> RunFile | None:
    """The file with the predictions of a run, if it has one."""
    return _file(whole, PREDICTIONS)


def scores_checks(archive: Origin, run: StoredRun, row: RunRow, whole: WholeRun, test: Predicted) -> Iterator[Said]:
    """What is wrong with the scores of a run, which comparisons read, by the predictions of its test part.

    Errors of a regression are means, and may be rounded otherwise elsewhere.
    """
    predictions, own = predictions_file(whole), _file(whole, SCORES)
    if predictions is None or own is None:
        return
    try:
        stored = stored_scores(archive.content(run, own), {})
        score, right = np.frombuffer(stored.score, "<f4"), scored(test.labels.numpy(), test.logits.numpy())
        same = json.loads(stored.names) == [test.ids, test.groups] and stored.size == predictions.size
        same = same and np.allclose(score, right, rtol=CLOSE, atol=CLOSE)
    except (OSError, *UNREADABLE):
        same = False
    if not same:
        yield Said("wrong", "samples", row.name, f"its {SCORES} does not follow from its predictions")


def _file(whole: WholeRun, name: str) -> RunFile | None:
    return next((file for file in whole.files if file.name == name), None)


def predictions_of(archive: Origin, run: StoredRun, row: RunRow, file: RunFile | None) -> dict[str, Predicted] | Said:
    """Part -> predictions of a run in its `predictions_file`, or what is wrong with them."""
    if file is None:
        return Said("wrong", "numbers", row.name, "no number can be computed again: it has no predictions")
    try:
        return predictions_in(archive.content(run, file))
    except Unsound as error:
        return Said("wrong", "samples", row.name, f"its {PREDICTIONS} is not sound: {error}")


def _names(names: Iterable[str]) -> list[str]:
    return sorted(dict.fromkeys(names))


def number_faults(archive: Origin, run: StoredRun, row: RunRow, file: RunFile | None) -> list[str]:
    """What is wrong with the numbers of one run, by its `predictions_file` alone."""
    parts = predictions_of(archive, run, row, file)
    every = [parts] if isinstance(parts, Said) else number_checks(row, parts)
    return [one.text for one in every if one.state == "wrong"]
