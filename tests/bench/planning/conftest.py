"""What the tests of plans share."""

from pathlib import Path

import pytest

from mcr_bench.tests.support.runs.planned import plain_presets, save


@pytest.fixture
def data(tmp_path: Path) -> str:
    """A small array file."""
    return save(tmp_path / "small.npz")


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default preset sets nothing."""
    plain_presets(monkeypatch)
