"""A set from its raw files to results, by the command line: info, prepare, verify and a run of three methods."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mcr_bench.cli import app

METHODS = ("joint", "ensemble", "mcr")


def command(folder: Path, *arguments: str) -> str:
    """What the command line says on stdout, called in `folder`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MCR_BENCH_HOME", str(folder / "results"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.stdout


def settings(values: dict[str, Any]) -> list[str]:
    return [text for key, value in values.items() for text in ("--set", f"{key}={value}")]


def require_whole_way(folder: Path, name: str, source: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Go the whole way with some settings, one epoch; returns what `run --json` says. All runs have finished."""
    dials = settings({key: value for key, value in values.items() if key.startswith("dataset.")})
    assert f"mcr-bench data prepare {name}" in command(folder, "data", "info", name)
    told = command(folder, "data", "prepare", name, "--source", str(source), "--jobs", "1", *dials)
    assert str(Path("data") / name) in told
    verified = json.loads(command(folder, "data", "verify", name, "--json", *dials))
    assert verified["protocols"]
    chosen = settings({"encoder.width": 5, "model.width": 5, **values, "epochs": 1, "batch_size": 8})
    call = ["run", "--methods", ",".join(METHODS), "--dataset", name, "--seeds", "1", "--jobs", "1", "--json", *chosen]
    result: dict[str, Any] = json.loads(command(folder, *call))
    assert not result["failed"]
    assert all(row["status"] == "finished" for row in result["runs"])
    assert {row["method"] for row in result["runs"]} >= {"joint", "unimodal", "ensemble"}
    return result
