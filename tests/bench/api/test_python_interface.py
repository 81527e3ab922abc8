"""`import mcr_bench`: a script without a guard trains its own method and encoder, and reads what came of it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import mcr_bench
from mcr_bench.bench.api import running
from mcr_bench.bench.api.results import Comparison
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.planning.plan import Plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import Outcome
from mcr_bench.methods import BASELINE, COST_BASELINE
from mcr_bench.tests.support.house.examples import ROOT, blocks
from mcr_bench.tests.support.records.recorded import pretend, save

SCRIPT = '''
import json
from dataclasses import dataclass
from typing import ClassVar

import torch

import mcr_bench
from mcr_bench.methods.base import Method, Reference

HALF = 0.5


@dataclass
class Mine(Method):
    """Half the loss of joint training."""

    name: ClassVar[str] = "mine"
    reference: ClassVar[Reference] = Reference("a test", "none")
    without_neutral: ClassVar[str] = "a test"

    def loss(self, outputs, batch):
        return {"fused": HALF * self.fit.task.loss(outputs.logits, batch.target)}


def make(shape, width, hidden: int = 4):
    return torch.nn.Sequential(torch.nn.Linear(shape[0], hidden), torch.nn.Linear(hidden, width))


c = mcr_bench.run(
    ["joint", Mine],
    "synthetic",
    seeds=1,
    settings={"epochs": 1, "encoder.m1.kind": make, "dataset.train": 60, "dataset.val": 40, "dataset.test": 50},
    jobs=1,
)
again = mcr_bench.run(["joint", Mine], "synthetic", seeds=1, settings={
    "epochs": 1, "encoder.m1.kind": make, "dataset.train": 60, "dataset.val": 40, "dataset.test": 50})
print(json.dumps({
    "values": {row.label.split()[0]: row.value for row in c.rows},
    "table": list(c.table().index)[:2],
    "equal": [a.run_id for a in c.rows] == [b.run_id for b in again.rows],
    "failed": len(c.failed),
}))
'''


@pytest.mark.slow  # a quarter of a minute; tests/faults/test_no_main_guard.py tries more of the kind
def test_a_script_without_a_guard_trains_what_it_defines(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {k: v for k, v in os.environ.items() if k not in ("MCR_BENCH_HOME", "MLFLOW_TRACKING_URI")}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["equal"]
    assert said["failed"] == 0
    assert set(said["values"]) == {"joint", "mine"}
    assert [label.split()[0] for label in said["table"]] == ["joint", "mine"]
    assert done.stderr.count("to train") == 2
    assert "2 finished before, 0 to train" in done.stderr


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """A comparison whose runs are on record; one of them failed."""
    home = tmp_path_factory.mktemp("api")
    record = Record(home=home)
    plan = pretend(record, save(home / "set.npz"), "joint", "ensemble", "ogm", seeds=[0, 1, 2])
    rows = [row for row in record.rows() if row.key in plan.by_key]
    return Comparison(record, rows, plan.skipped, [], BASELINE, COST_BASELINE, plan.skipped_under)


@pytest.fixture
def _home(recorded: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MCR_BENCH_HOME", str(recorded.record.home))


def test_the_table_has_the_means_of_the_runs(recorded: Comparison) -> None:
    table = recorded.table()
    ogm = [row.value for row in recorded.rows if row.label == "ogm"]
    assert table.loc["ogm", "test accuracy"] == pytest.approx(pd.Series(ogm).mean(), abs=1e-12)
    assert table.loc["ogm", "sd"] == pytest.approx(pd.Series(ogm).std(), abs=1e-12)
    assert table.loc["ogm", "n"] == 3
    assert any("protocol" in note for note in table.attrs["notes"])


def test_the_text_and_the_page_of_a_comparison_hold_every_method(recorded: Comparison) -> None:
    for text in (repr(recorded), recorded._repr_html_()):
        assert all(label in text for label in ("joint", "ensemble", "ogm"))


@pytest.mark.parametrize("test", ["primary", "secondary", "pairs"])
def test_compare_gives_a_row_per_method_and_says_the_result_first(recorded: Comparison, test: str) -> None:
    frame = recorded.compare(test=test)  # type: ignore[arg-type]
    assert all(any(name in label for label in frame.index) for name in ("joint", "ogm"))
    assert "(seed, fold) pairs cannot reach" in frame.attrs["notes"][0]


def test_compare_says_its_unit_and_why_a_row_has_no_test(recorded: Comparison) -> None:
    frame, table = recorded.compare(), recorded.table()
    means = frame["test accuracy (points)"]
    assert means["ogm"] == pytest.approx(100 * table.loc["ogm", "test accuracy"])
    assert "test accuracy" not in frame.columns
    assert frame.loc["ensemble", "not tested"] == "the baseline itself"
    assert list(frame["not tested"] == "") == list(frame["p"].notna())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"baseline": "agm"},
            r"no finished run of agm here. Give compare\(baseline=...\) one of: .*joint, ogm; or name agm",
        ),
        ({"metric": "x"}, "unknown metric"),
        ({"test": "x"}, "Allowed: primary"),
    ],
)
def test_compare_refuses_what_is_unknown(recorded: Comparison, given: dict[str, str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        recorded.compare(**given)  # type: ignore[arg-type]


def test_plot_gives_a_figure_or_the_reason(recorded: Comparison) -> None:
    with mpl.rc_context():
        figure = recorded.plot()
        assert isinstance(figure, Figure)
    picture, size = figure._repr_png_()  # type: ignore[attr-defined]
    assert picture.startswith(b"\x89PNG")
    assert size["width"] == round(100 * figure.get_size_inches()[0])
    with pytest.raises(UserError, match="unknown figure"):
        recorded.plot("pie")
    with pytest.raises(UserError, match="nothing to draw"):
        recorded.plot(dataset="another")


@pytest.mark.usefixtures("_home")
def test_results_are_one_row_per_run_with_settings_and_metrics(recorded: Comparison) -> None:
    frame = mcr_bench.results()
    assert len(frame) == len(recorded.rows)
    assert {"settings.epochs", "metrics.test/accuracy", "method", "seed"} <= set(frame.columns)
    assert set(mcr_bench.results(method="ogm")["method"]) == {"ogm"}
    with pytest.raises(UserError, match="nothing"):
        mcr_bench.results(method="nothing")
    assert recorded.runs().equals(frame.loc[recorded.runs().index])


@pytest.mark.usefixtures("_home")
def test_predictions_of_a_run_by_key_by_row_and_by_line_of_results(recorded: Comparison) -> None:
    row = next(row for row in recorded.rows if row.label == "joint")
    by_key = mcr_bench.predictions(row.key)
    assert {"sample", "part"} & set(by_key.columns)
    assert by_key.equals(mcr_bench.predictions(row))
    assert by_key.equals(mcr_bench.predictions(mcr_bench.results().loc[row.key]))
    with pytest.raises(UserError, match="unknown run"):
        mcr_bench.predictions("zzzz")
    with pytest.raises(UserError, match=r"predictions of None: give the key of a run, a row of results\(\)"):
        mcr_bench.predictions(None)  # type: ignore[arg-type]


@pytest.mark.usefixtures("_home")
def test_the_example_of_predictions_gives_the_accuracy_on_record(recorded: Comparison) -> None:
    (example,) = [block for block in blocks("docs/python.md", "python") if "mcr_bench.predictions" in block]
    names: dict[str, Any] = {"mcr_bench": mcr_bench, "np": np, "c": recorded}
    exec(example, names)
    assert names["accuracy"] == pytest.approx(recorded.rows[0].value)
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    assert all(f"`{name.partition('/')[0]}" in text for name in names["p"].columns)


def test_describe_takes_names_and_classes_and_shows_as_text() -> None:
    card = mcr_bench.describe("ogm")
    assert card["method"] == "ogm"
    assert str(card).startswith("method: ogm")


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, mcr_bench; print([m for m in ('torch', 'pandas', 'mlflow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    heavy = ("torch", "pandas", "scipy.special", "scipy.stats")
    code = f"import sys, mcr_bench.bench.commands.reading; print(sum(m in sys.modules for m in {heavy}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"  # they take a second of each command that prints a table
    assert {"run", "results", "predictions", "describe"} <= set(dir(mcr_bench))
    with pytest.raises(AttributeError, match="no attribute 'walk'"):
        _ = mcr_bench.walk


@pytest.mark.parametrize(
    "given",
    [
        {"fold": 1.0},
        {"fold": True},
        {"fold": 0},
        {"jobs": 0},
        {"jobs": "2"},
        {"jobs": 1.5},
        {"runs_per_gpu": "a"},
        {"device": None},
        {"executor": None},
        {"preset": ["x"]},
        {"protocol": 3},
        {"tracking_uri": 3},
        {"settings": ["epochs=2"]},
        {"settings": {3: 2}},
        {"seeds": 1.0},
        {"seeds": "0-3"},
        {"seeds": [0, True]},
        {"seeds": np.array(2)},
        {"data_root": 3},
        {"modalities": 3},
        {"family": [3]},
        {"force": "no"},
        {"keep_weights": 1},
        {"deterministic": "false"},
    ],
    ids=str,
)
def test_run_refuses_a_wrong_argument_by_name(
    given: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path / "home"))
    (name,) = given
    with pytest.raises(UserError, match=rf"^{name}[=:].*Give "):
        mcr_bench.run(["joint"], save(tmp_path / "set.npz"), **({"seeds": 1} | given))  # type: ignore[arg-type]
    assert not (tmp_path / "home" / "mlflow.db").exists()


def test_numbers_of_numpy_are_numbers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What loops over arrays give; and what an earlier command owes a server is delivered first."""
    told, asked = list[str](), list[Request]()
    record = Record(home=tmp_path)
    monkeypatch.setattr(running, "open_record", lambda _: record)
    monkeypatch.setattr(Record, "deliver_owed", lambda _: told.append("delivered"))
    monkeypatch.setattr(Record, "finished_keys", lambda *_: told.append("read") or set())
    monkeypatch.setattr(running, "make_plan", lambda request: asked.append(request) or Plan())
    monkeypatch.setattr(running, "run_plan", lambda *_: (Outcome(), []))
    settings = {"epochs": np.int64(3), "optimizer.lr": np.array([0.5, 1e-3], dtype=np.float32)}
    mcr_bench.run("joint", "x.npz", seeds=np.arange(2), fold=np.int64(1), jobs=np.int32(1), settings=settings)
    assert told == ["delivered", "read"]
    assert (asked[0].seeds, asked[0].fold) == ([0, 1], 1)
    assert asked[0].overrides == {"epochs": ["3"], "optimizer.lr": ["0.5", "0.001"]}
