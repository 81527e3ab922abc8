"""A home, and the archive that `submit` writes of it, made once."""

import shutil
from pathlib import Path

import pytest

from mcr_bench.tests.support.records.homes import call
from mcr_bench.tests.support.records.submitted import make_submitted


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with `home` and `ours.zip`; `told` is what `submit` said."""
    folder = tmp_path_factory.mktemp("submitted")
    make_submitted(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("MCR_BENCH_HOME", str(folder / "home"))
        (folder / "told").write_text(call("submit", str(folder / "ours.zip")).stdout)
    return folder


@pytest.fixture
def ours(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the archive in a folder without a record."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MCR_BENCH_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copy(made / "ours.zip", tmp_path))
