"""A record that version 0.2.0 wrote: joint, multi-loss, uni-pre-frozen and the runs that it starts from, 3 seeds."""

import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

ARCHIVE = Path(__file__).with_name("record_0_2.tar.xz")  # mlflow.sql, the text of its database, and its artifacts
HOME = "@HOME@"  # stands in that text for the folder of the record
COMMAND = (
    *("run", "--methods", "joint,multi-loss,uni-pre-frozen", "--dataset", "synthetic", "--seeds", "3"),
    *("--set", "epochs=8", "--set", "optimizer.lr=0.02", "--set", "dataset.train=80", "--set", "dataset.val=30"),
    *("--set", "dataset.test=40", "--set", "dataset.dimension=6", "--set", "model.width=8", "--set", "encoder.width=8"),
)


def unpack(home: Path) -> None:
    """The record, as it was, in a folder."""
    home.mkdir(parents=True)
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(home, filter="data")
    text = (home / "mlflow.sql").read_text(encoding="utf-8")
    (home / "mlflow.sql").unlink()
    with closing(sqlite3.connect(home / "mlflow.db")) as database:
        database.executescript(text.replace(HOME, str(home)))


def values(home: Path) -> dict[tuple[str, str, int], float]:
    """(method, its modalities, seed) -> test accuracy, straight from the tables."""
    query = """
        SELECT method.value, modalities.value, seed.value, m.value FROM latest_metrics m
        JOIN tags method ON method.run_uuid = m.run_uuid AND method.key = 'method'
        JOIN tags modalities ON modalities.run_uuid = m.run_uuid AND modalities.key = 'modalities'
        JOIN tags seed ON seed.run_uuid = m.run_uuid AND seed.key = 'seed'
        WHERE m.key = 'test/accuracy'
    """
    with closing(sqlite3.connect(home / "mlflow.db")) as database:
        return {(method, which, int(seed)): value for method, which, seed, value in database.execute(query)}
