"""Whether two records hold the same results, and whether two folders of tables and figures show the same.

    python tests/support/house/same_results.py HOME_A HOME_B            every metric of every epoch, every prediction
    python tests/support/house/same_results.py --shown FOLDER_A FOLDER_B  every file: text, and figures by their pixels

The first compares two trainings to the last bit: it reads MLflow's tables itself, pairs runs by method, dataset, label,
modalities, protocol, preset, seed and fold, and leaves out what is measured by a clock or by the machine (cost/...) and
what names a run (keys, ids). The second is for one record that was shown by two versions of the program, from homes of
one name (the report names its record). Exit code 1 where anything differs.
"""

import argparse
import html
import re
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd

NAMES = ("dataset", "method", "label", "modalities", "protocol", "preset", "seed", "fold")
MEASURED = ("cost/", "system/")
KEY = re.compile(r"\b[0-9a-f]{20}\b|\b[0-9a-f]{32}\b")
# What a figure's file says of its making, and ids that matplotlib draws at random.
VARYING = re.compile(r"<dc:date>.*?</dc:date>|\bid=\"[^\"]*\"|url\(#[^)]*\)|#[a-z0-9]{8,}")
SPACE = re.compile(r"\s*(<[^>]*>)\s*")  # around a tag, where a page breaks its lines

Curve = dict[str, list[tuple[int, float]]]


def runs_of(home: Path) -> dict[tuple[str, ...], str]:
    """The names of a run -> the id of its newest finished run in MLflow."""
    query = (
        "SELECT t.run_uuid, t.key, t.value FROM tags t JOIN runs r ON r.run_uuid = t.run_uuid "
        "WHERE r.status = 'FINISHED' ORDER BY r.start_time"
    )
    tags: dict[str, dict[str, str]] = {}
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        for run, key, value in connection.execute(query):
            tags.setdefault(run, {})[key] = value
    return {tuple(known.get(name, "") for name in NAMES): run for run, known in tags.items()}


def curves_of(home: Path, run: str) -> Curve:
    """Every metric of a run that no clock measured: name -> (step, value) in the order of steps."""
    query = "SELECT key, step, value, is_nan FROM metrics WHERE run_uuid = ? ORDER BY key, step, timestamp"
    curves: Curve = {}
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        for key, step, value, is_nan in connection.execute(query, [run]):
            if not key.startswith(MEASURED):
                curves.setdefault(key, []).append((step, float("nan") if is_nan else value))
    return curves


def predictions_of(home: Path, run: str) -> pd.DataFrame:
    """What the run predicted, or an empty table where the run keeps no predictions."""
    files = sorted((home / "artifacts").rglob(f"{run}/**/predictions.parquet"))
    return pd.read_parquet(files[0]) if files else pd.DataFrame()


def differences_of_runs(one: Path, other: Path) -> Iterator[str]:
    """A line for each run that only one record has, and for each metric or prediction that differs."""
    runs, others = runs_of(one), runs_of(other)
    for name in sorted(runs.keys() ^ others.keys()):
        yield f"{' '.join(name)}: only in {one if name in runs else other}"
    for name in sorted(runs.keys() & others.keys()):
        here, there = curves_of(one, runs[name]), curves_of(other, others[name])
        for metric in sorted(here.keys() | there.keys()):
            if not _same_curve(here, there, metric):
                yield f"{' '.join(name)}: {metric}: {here.get(metric)} and {there.get(metric)}"
        if not predictions_of(one, runs[name]).equals(predictions_of(other, others[name])):
            yield f"{' '.join(name)}: predictions differ"


def differences_shown(one: Path, other: Path) -> Iterator[str]:
    """A line for each file that only one folder has, and for each that shows something else."""
    files, others = ({p.relative_to(root) for p in root.rglob("*") if p.is_file()} for root in (one, other))
    for path in sorted(files ^ others):
        yield f"{path}: only in {one if path in files else other}"
    for path in sorted(files & others):
        if path.suffix != ".pdf" and not _looks_the_same(one / path, other / path):  # drawn as the .png is
            yield f"{path}: differs"


def _same_curve(here: Mapping[str, list[tuple[int, float]]], there: Curve, metric: str) -> bool:
    return np.array_equal(here.get(metric, []), there.get(metric, []), equal_nan=True)


def _looks_the_same(one: Path, other: Path) -> bool:
    if one.suffix == ".png":
        return np.array_equal(matplotlib.image.imread(one), matplotlib.image.imread(other))
    return _text(one) == _text(other)


def _text(path: Path) -> str:
    text = VARYING.sub("", KEY.sub("KEY", path.read_text(encoding="utf-8")))
    return SPACE.sub(r"\1", html.unescape(text)) if path.suffix == ".html" else text


def main() -> None:
    """Print every difference and a count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("one", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("--shown", action="store_true", help="compare folders of tables and figures")
    options = parser.parse_args()
    compare = differences_shown if options.shown else differences_of_runs
    lines = list(compare(options.one, options.other))
    print(*lines, sep="\n")
    if not options.shown:
        print(f"{len(runs_of(options.one))} runs, {len(runs_of(options.other))} runs: ", end="")
    print(f"{len(lines)} differences")
    sys.exit(bool(lines))


if __name__ == "__main__":
    main()
