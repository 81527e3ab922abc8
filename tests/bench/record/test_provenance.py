"""Where a run was trained: the commit is that of this package's checkout, never of a project around it."""

import subprocess
from pathlib import Path

import pytest

from mcr_bench.bench.record import provenance


@pytest.fixture(autouse=True)
def _fresh() -> None:
    provenance.commit.cache_clear()


def git(folder: Path, *arguments: str) -> str:
    name = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    return subprocess.run(
        ["git", "-C", folder, *name, *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_commit_and_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-qm", "one")
    monkeypatch.setattr(provenance, "ROOT", tmp_path.resolve())
    assert provenance.commit() == git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "file").write_text("two")
    provenance.commit.cache_clear()
    assert provenance.commit() == git(tmp_path, "rev-parse", "HEAD") + "+changes"


def test_an_installation_inside_another_repository_has_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "site").mkdir()
    monkeypatch.setattr(provenance, "ROOT", (tmp_path / "site").resolve())
    assert provenance.commit() == ""


def test_device_and_versions_are_named() -> None:
    tags = provenance.provenance("cuda:1")
    assert tags["device"] == "cuda:1"
    assert {"version/torch", "version/numpy", "version/python", "platform"} <= set(tags)
