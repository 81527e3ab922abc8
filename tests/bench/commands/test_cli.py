"""The command line: parsing, exit codes, what goes to stdout, a whole comparison, and a help that stays fast."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.serving.mlflow_server import free_port
from mcr_bench.bench.settings.arguments import parse_list, parse_seeds, parse_settings
from mcr_bench.cli import app

HEAVY = ("torch", "mlflow", "pandas", "scipy", "numpy", "matplotlib", "mcr_bench.bench.catalog.registry")
NAMES = ("run", "list", "describe", "results", "compare", "tables", "plot", "report", "tune", "ui", "check", "data")
VERBS = ([], *([name] for name in NAMES), ["data", "prepare"])
SMALL = ["--dataset", "synthetic", "--seeds", "2", "--set", "epochs=1", "--jobs", "1"]

METHOD = '''
"""Half the loss: the same optimum, another step."""
from dataclasses import dataclass
from typing import ClassVar

from mcr_bench.bench.settings import setting
from mcr_bench.methods.base import Method, Reference


@dataclass
class HalfLoss(Method):
    """L = weight CE(z, y)."""

    weight: float = setting(0.5, "factor on the loss", at_least=0)
    name: ClassVar[str] = "half-loss"
    reference: ClassVar[Reference] = Reference("An idea", "this test")

    def loss(self, outputs, batch):
        return {"fused": self.weight * self.fit.task.loss(outputs.logits, batch.target)}
'''


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("3", [0, 1, 2]), ("1", [0]), ("3,5,8", [3, 5, 8]), ("5,", [5]), ("0,", [0]), ("2, 2,1", [2, 1])],
)
def test_seeds(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", ",", "0", "-1", "a", "1.5", "1,b", "10001", f"{2**63},"])
def test_wrong_seeds_say_what_is_allowed(text: str) -> None:
    with pytest.raises(UserError, match="--seeds"):
        parse_seeds(text)


def test_settings_make_a_grid() -> None:
    assert parse_settings(["epochs=5", "a.b = 1e-3, 0.1", "x=y=z"]) == {
        "epochs": ["5"],
        "a.b": ["1e-3", "0.1"],
        "x": ["y=z"],
    }


@pytest.mark.parametrize("settings", [["epochs"], ["=5"], ["epochs="], ["a=1", "a=2"]])
def test_wrong_settings_name_the_remedy(settings: list[str]) -> None:
    with pytest.raises(UserError, match=r"--set .*Give"):
        parse_settings(settings)


def test_lists_lose_blanks_and_doubles() -> None:
    assert parse_list(" a, b,,a ") == ["a", "b"]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_has_help(verb: list[str]) -> None:
    found = call(*verb, "--help")
    assert found.exit_code == 0
    assert "Usage:" in found.stdout


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom mcr_bench.cli import app\n"
        "try:\n    app(['run', '--help'])\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "--methods", "jiont", "--dataset", "synthetic"], "Did you mean joint"),
        (["run", "--methods", "joint", "--dataset", "sinthetic"], "Did you mean synthetic"),
        (["run", "--methods", "joint", "--dataset", "none.npz"], "none.npz"),
        (["run", "--methods", "joint", "--dataset", "synthetic", "--set", "epoch=5"], "epochs"),
        (["run", "--methods", "joint", "--dataset", "synthetic", "--set", "epochs=many"], "whole number"),
        (["run", "--methods", "joint", "--dataset", "synthetic", "--seeds", "x"], "--seeds"),
        (["run", "--methods", "./absent.py", "--dataset", "synthetic"], "absent.py"),
        (["run", "--methods", "", "--dataset", "synthetic"], "--methods '' contains no name"),
        (["run", "--methods", "joint", "--dataset", ","], "--dataset ',' contains no name"),
        (["run", "--methods", "joint", "--dataset", "synthetic", "--modalities", ""], "--modalities"),
        (["results", "--csv", "/proc/none/runs.csv"], "/proc/none/runs.csv"),
        (["describe", "jiont"], "joint"),
        (["data", "prepare", "synthetic", "--source", "."], "needs no preparation"),
    ],
)
def test_what_the_user_can_mend_exits_2_without_a_traceback(arguments: list[str], says: str) -> None:
    found = call(*arguments)
    assert found.exit_code == 2
    assert found.stdout == ""
    assert found.stderr.startswith("error: ")
    assert says in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    "arguments", [["run"], ["run", "--nope"], ["list", "things"], ["data", "prepare", "x", "--source", "/nowhere"]]
)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    assert call(*arguments).exit_code == 2


@pytest.mark.parametrize(("what", "name"), [("methods", "joint"), ("datasets", "synthetic"), ("presets", "synthetic")])
def test_list(what: str, name: str) -> None:
    rows = json.loads(call("list", what, "--json").stdout)
    assert name in [next(iter(row.values())) for row in rows]
    assert name in call("list", what).stdout


def test_method_card_holds_formula_settings_and_reference(tmp_path: Path) -> None:
    path = tmp_path / "half.py"
    path.write_text(METHOD)
    card = json.loads(call("describe", str(path), "--json").stdout)
    assert (card["method"], card["reference"]["title"]) == ("half-loss", "An idea")
    assert "L = weight CE(z, y)" in card["description"]
    assert card["settings"] == [
        {
            "key": "half-loss.weight",
            "default": 0.5,
            "allowed": "number >= 0",
            "doc": "factor on the loss",
            "origin": "chosen here",
        }
    ]
    text = call("describe", str(path)).stdout
    assert "half-loss.weight = 0.5    (number >= 0; origin: chosen here)" in text


def test_every_registered_card_can_be_told() -> None:
    for what in ("methods", "datasets"):
        for row in json.loads(call("list", what, "--json").stdout):
            found = call("describe", row["name"])
            assert found.exit_code == 0, row["name"]
            assert found.stdout.splitlines()[0].endswith(row["name"])


def test_dataset_card_names_protocols_and_dials() -> None:
    card = json.loads(call("describe", "synthetic", "--json").stdout)
    assert card["protocols"]
    assert card["settings"][0]["key"].startswith("dataset.")


def test_an_empty_record_is_said_in_a_line() -> None:
    for verb in ("tables", "results"):
        found = call(verb)
        assert found.exit_code == 0
        assert "holds no run yet" in found.stdout
    assert json.loads(call("results", "--json").stdout) == []
    assert (
        "holds no run of 'elsewhere' and 'joint'"
        in call("results", "--dataset", "elsewhere", "--method", "joint").stdout
    )


def test_plan_trains_nothing() -> None:
    plan = json.loads(call("run", "--methods", "ensemble", *SMALL, "--plan", "--json").stdout)
    states = {row["run"]: row["state"] for row in plan["runs"]}
    assert set(states.values()) == {"to train"}
    assert [row["reason"] for row in plan["runs"]].count("requested") == 2
    assert json.loads(call("results", "--json").stdout) == []
    assert (
        "holds no run of 'elsewhere' and 'joint'"
        in call("results", "--dataset", "elsewhere", "--method", "joint").stdout
    )


def test_a_comparison_from_end_to_end(tmp_path: Path) -> None:
    path = tmp_path / "half.py"
    path.write_text(METHOD)
    command = ["run", "--methods", f"joint,ensemble,{path}", *SMALL]
    first = call(*command, "--json")
    assert first.exit_code == 0, first.stderr
    found = json.loads(first.stdout)
    (table,) = found["tables"]
    methods = [row["method"].partition(" [")[0] for row in table["rows"]]
    assert methods[2:] == ["ensemble", "joint", "half-loss", "constant (majority class)"]
    assert {row["n"] for row in table["rows"]} == {2}
    assert {row["status"] for row in found["runs"]} == {"finished"}
    assert "finished joint" in first.stderr

    again = call(*command, "--json")
    assert json.loads(again.stdout) == found
    assert "10 runs, 10 finished before, 0 to train" in again.stderr
    assert "0 to train" in call(*command, "--plan").stdout

    written = [line for line in call("tables").stdout.splitlines() if line.startswith(str(tmp_path))]
    assert any("synthetic" in line and line.endswith(".{md,csv,tex,html}") for line in written)
    assert call("results", "--csv", str(tmp_path / "runs.csv")).exit_code == 0
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 11
    rows = json.loads(call("results", "--method", "joint", "--json").stdout)
    assert [row["seed"] for row in rows] == [0, 1]
    assert "joint" in call("results", "--method", "joint").stdout


def test_failed_runs_exit_1_and_keep_the_others(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text(METHOD.replace("return {", "raise ValueError('broken idea')\n        return {"))
    found = call("run", "--methods", f"joint,{path}", *SMALL)
    assert found.exit_code == 1
    assert "broken idea" in found.stderr
    assert "log: " in found.stderr
    assert "joint" in found.stdout
    assert "FAILED: half-loss" in found.stdout


def test_ctrl_c_says_that_the_same_command_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from mcr_bench.cli import main; main()", "run", "--methods", "joint"]
    command += ["--dataset", "synthetic", "--set", "epochs=100000", "--set", "patience=0", "--jobs", "1"]
    environment: dict[str, Any] = os.environ | {"MCR_BENCH_HOME": str(tmp_path / "home")}
    child = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert child.stderr is not None
    next(line for line in child.stderr if "to train" in line)
    while child.poll() is None and not list((tmp_path / "home" / "work").glob("*/log.txt")):
        time.sleep(0.1)
    time.sleep(2.0)
    os.killpg(child.pid, signal.SIGINT)
    _, errors = child.communicate(timeout=600)
    assert child.returncode == 130
    assert "the same command continues from here" in errors
    assert "Traceback" not in errors


def test_the_ui_takes_the_next_free_port() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < free_port("127.0.0.1", port) < port + 20


def test_a_method_file_without_a_reference_has_a_card(tmp_path: Path) -> None:
    file = tmp_path / "plain.py"
    file.write_text("from mcr_bench.methods.base import Method\n\n\nclass Plain(Method):\n    name = 'plain'\n")
    assert "reference: not stated" in call("describe", str(file)).stdout
