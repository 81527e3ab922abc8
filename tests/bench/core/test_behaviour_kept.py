"""Digests of the package's methods that an earlier command has kept beside the record."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.core import behaviour
from mcr_bench.bench.core.behaviour import behaviour_digest, keep_digests
from mcr_bench.bench.core.home import VARIABLE
from mcr_bench.bench.core.sources import kept
from mcr_bench.tests.support.runs.behaving import digest

OTHER = "0" * 16


def forget() -> None:
    """What a new process would not know."""
    behaviour._digests.clear()
    kept._known.cache_clear()
    kept._stamp.cache_clear()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "home"))
    forget()
    yield tmp_path / "home"
    forget()


@pytest.fixture
def true() -> str:
    """The digest of a method, as it is made where none is kept."""
    return behaviour_digest(registry.method("ogm-ge"))


def file_of(home: Path) -> Path:
    return home / "cache" / "digests.json"


def changed(home: Path, change: Callable[[dict[str, object]], object], seal: bool = True) -> None:
    """Change the file; seal: as if it had been written so."""
    content = json.loads(file_of(home).read_bytes())
    change(content)
    file_of(home).write_text(json.dumps(content | ({"seal": kept._seal(content["digests"])} if seal else {})))
    forget()


def as_other(content: dict[str, object]) -> None:
    digests = content["digests"]
    assert isinstance(digests, dict)
    content["digests"] = dict.fromkeys(digests, OTHER)


def test_a_kept_digest_is_taken(home: Path, true: str) -> None:
    keep_digests(home)
    changed(home, lambda _: None)
    assert kept.kept_digest(registry.method("ogm-ge")) == true
    changed(home, as_other)
    assert behaviour_digest(registry.method("ogm-ge")) == OTHER


def test_later_commands_add_to_those_that_are_kept(home: Path, true: str) -> None:
    keep_digests(home)
    forget()
    behaviour_digest(registry.method("joint"))
    keep_digests(home)
    digests = json.loads(file_of(home).read_bytes())["digests"]
    assert len(digests) == 2
    assert true in digests.values()


def test_nothing_is_taken_of_other_code(home: Path, true: str) -> None:
    keep_digests(home)
    changed(home, as_other)
    changed(home, lambda content: content.update(stamp="f" * 64))
    assert behaviour_digest(registry.method("ogm-ge")) == true


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff\xfe", b'{"stamp": 1}', b"null", b"[" * 100_000])
def test_nothing_is_taken_of_a_damaged_file(home: Path, true: str, text: bytes) -> None:
    keep_digests(home)
    file_of(home).write_bytes(text)
    forget()
    assert behaviour_digest(registry.method("ogm-ge")) == true


def test_nothing_is_taken_of_a_file_that_is_not_what_was_written(home: Path, true: str) -> None:
    """A digest, or the name before it, with another bit is still one; a file of an earlier version has no seal."""
    keep_digests(home)
    changed(home, as_other, seal=False)
    assert behaviour_digest(registry.method("ogm-ge")) == true
    keep_digests(home)
    changed(home, lambda content: content.pop("seal"), seal=False)
    assert kept.kept_digest(registry.method("ogm-ge")) is None


@pytest.mark.parametrize("digest", ["", "0" * 15, "g" * 16, None, 5, ["0" * 16]])
def test_nothing_is_taken_that_is_no_digest(home: Path, true: str, digest: object) -> None:
    keep_digests(home)
    changed(home, lambda content: content.update(digests={"mcr_bench.methods.ogm_ge:OgmGe": digest}))
    assert behaviour_digest(registry.method("ogm-ge")) == true


def test_classes_of_users_are_not_kept(home: Path, tmp_path: Path) -> None:
    digest(tmp_path, "class Mine:\n    W = 1\n")
    keep_digests(home)
    assert not home.exists()


def test_a_class_that_goes_by_the_name_of_a_method_gets_its_own_digest(home: Path, true: str) -> None:
    keep_digests(home)
    forget()
    cls = registry.method("ogm-ge")
    assert kept.kept_digest(type(cls.__name__, (), {"__module__": cls.__module__})) is None
    assert kept.kept_digest(cls) == true


def test_a_folder_that_may_not_be_written_is_left_alone(tmp_path: Path, true: str) -> None:
    (tmp_path / "file").write_text("")
    keep_digests(tmp_path / "file")
    assert true


def edited(root: Path, name: str) -> None:
    with (root / name).open("a") as file:
        file.write("#\n")


CHANGES: dict[str, Callable[[Path, pytest.MonkeyPatch], object]] = {
    "a method": lambda root, _: edited(root, "methods/ogm.py"),
    "a shared term": lambda root, _: edited(root, "methods/terms/modulation.py"),
    "a new method": lambda root, _: (root / "methods" / "another.py").write_text(""),
    "how digests are made": lambda root, _: edited(root, "bench/core/sources/form.py"),
    "folders before the libraries": lambda _, patch: patch.setenv("PYTHONPATH", "/elsewhere"),
    "the version of Python": lambda _, patch: patch.setattr(sys, "version", "4.0"),
    "what is installed": lambda root, _: (root / "site-packages" / "another").mkdir(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_stamp_changes_with_what_digests_depend_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    for name in ("methods", "bench/core"):
        shutil.copytree(kept.ROOT / name, tmp_path / name)
    (tmp_path / "site-packages").mkdir()
    monkeypatch.setattr(kept, "ROOT", tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    before = kept._stamp()
    kept._stamp.cache_clear()
    assert kept._stamp() == before
    kept._stamp.cache_clear()
    CHANGES[change](tmp_path, monkeypatch)
    assert kept._stamp() != before
