"""Two machines' homes, made once and copied for each test."""

import shutil
from pathlib import Path

import pytest

from mcr_bench.tests.support.records.moving import make_homes


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The homes `one`, `two` and `empty`."""
    return make_homes(tmp_path_factory.mktemp("homes"))


@pytest.fixture
def homes(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copies of them; the record of the commands of this test is `here`, a copy of `empty`."""
    for name in ("one", "two", "empty"):
        shutil.copytree(made / name, tmp_path / name)
    shutil.copytree(made / "empty", tmp_path / "here")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path / "here"))
    monkeypatch.chdir(tmp_path)
    return tmp_path
