"""The archive of runs that the repository ships: docs/results.md and the site beside it follow from it."""

import json
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import t as student
from typer.testing import CliRunner

from mcr_bench.cli import app
from mcr_bench.tests.support.house.examples import ROOT

SHIPPED = ROOT / "results/leaderboard"
ARCHIVE = SHIPPED / "av_digits.zip"
HEADING = "## The family of the primary test on av-digits\n"
BASELINES = ("ensemble", "joint")
Values = npt.NDArray[np.float64]


def accuracies() -> tuple[dict[str, Values], float]:
    """Method -> the test accuracies (12,) of its seeds in %, and the share of test by training samples."""
    values: dict[str, dict[int, float]] = {}
    with ZipFile(ARCHIVE) as archive:
        runs = [json.loads(archive.read(name)) for name in archive.namelist() if name.endswith("/run.json")]
    for run in runs:
        ((_, accuracy, _),) = run["metrics"]["test/accuracy"]
        values.setdefault(run["tags"]["method"], {})[int(run["tags"]["seed"])] = 100 * accuracy
    test, train = (runs[0]["metrics"][f"data/{part}_samples"][0][1] for part in ("test", "train"))
    del values["unimodal"]
    return {method: np.array([by_seed[seed] for seed in range(12)]) for method, by_seed in values.items()}, test / train


def sign_flip(x: Values) -> float:
    """The exact two-sided p of the mean of x under every exchange of signs."""
    signs = np.array(list(product((-1, 1), repeat=len(x))))
    return float(np.mean(np.abs(signs @ x) >= abs(x.sum()) - 1e-9))


def holm(p: Mapping[str, float]) -> dict[str, float]:
    adjusted, highest = {}, 0.0
    for rank, name in enumerate(sorted(p, key=lambda name: p[name])):
        highest = max(highest, min(1.0, p[name] * (len(p) - rank)))
        adjusted[name] = highest
    return adjusted


def interval(x: Values, share: float) -> tuple[float, float]:
    """The 95 % interval of the mean with the variance of Nadeau and Bengio: folds share training data."""
    half = student.ppf(0.975, len(x) - 1) * np.sqrt(x.var(ddof=1) * (1 / len(x) + share))
    return x.mean() - half, x.mean() + half


def table() -> list[str]:
    """The lines of the table in docs/results.md, the highest mean first."""
    values, share = accuracies()
    p = {b: holm({m: sign_flip(x - values[b]) for m, x in values.items() if m != b}) for b in BASELINES}
    lines = []
    for method in sorted(values, key=lambda m: -values[m].mean()):
        cells = [method, f"{values[method].mean():.1f}"]
        for b in BASELINES:
            if method == b:
                cells += ["-", "-"]
                continue
            difference = values[method] - values[b]
            low, high = interval(difference, share)
            cells += [f"{difference.mean():+.1f} [{low:+.1f}, {high:+.1f}]", f"{p[b][method]:.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def test_the_table_of_the_results_follows_from_the_archive() -> None:
    section = (ROOT / "docs/results.md").read_text(encoding="utf-8").split(HEADING)[1].split("\n## ")[0]
    shown = [line for line in section.splitlines() if line.startswith("| ")][2:]
    assert shown == table()


@pytest.mark.slow  # half a minute
def test_nothing_in_the_archive_is_wrong() -> None:
    result = CliRunner().invoke(app, ["verify-submission", str(ARCHIVE)])
    assert result.exit_code == 0, result.output
    assert "Nothing that can be checked is wrong." in result.stdout


@pytest.mark.slow  # a quarter of a minute
def test_the_site_is_that_of_the_archive(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["publish", str(ARCHIVE), "--output", str(tmp_path / "site")])
    assert result.exit_code == 0, result.output
    pages = sorted(path.name for path in (SHIPPED / "site").iterdir())
    assert pages == sorted(path.name for path in (tmp_path / "site").iterdir())
    for name in pages:
        assert (SHIPPED / "site" / name).read_bytes() == (tmp_path / "site" / name).read_bytes(), name
