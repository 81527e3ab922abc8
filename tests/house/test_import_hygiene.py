"""With the repository root on sys.path no other library takes the folder datasets/ for its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mcr_bench
from mcr_bench.bench.core.import_guard import OwnFolders, hide_from_others

ROOT = Path(mcr_bench.__file__).parent
checkout = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="not a checkout: no root to stand in")


def python(code: str, cwd: Path = ROOT, path: Path | None = None) -> str:
    """What a fresh interpreter prints whose sys.path begins with `cwd`."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", code],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A folder with somebody else's package `datasets`."""
    package = tmp_path / "site/datasets"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("OTHER = True\n")
    (package / "inner.py").write_text("NAME = __name__\n")
    return package.parent


@checkout
def test_the_root_is_where_the_mistake_would_happen() -> None:
    found = python("import importlib.util as u; print(u.find_spec('bench').origin, '' in __import__('sys').path)")
    assert found == f"{ROOT / 'bench/__init__.py'} True"


@checkout
def test_no_library_called_datasets_is_found_once_the_package_is_imported() -> None:
    code = "import mcr_bench, importlib.util as u; print(u.find_spec('datasets'), u.find_spec('bench') is not None)"
    assert python(code) == "None True"


@checkout
def test_our_own_adapters_and_presets_are_found_all_the_same() -> None:
    code = (
        "import mcr_bench.datasets.synthetic as s, mcr_bench.datasets.presets as p; "
        "print(s.__name__, p.__name__, s.__file__.endswith('datasets/synthetic.py'))"
    )
    assert python(code) == "mcr_bench.datasets.synthetic mcr_bench.datasets.presets True"


@checkout
@pytest.mark.parametrize("first", ["", "import mcr_bench; "])
def test_importing_the_absent_library_fails_as_it_does_elsewhere(first: str) -> None:
    code = f"{first}\ntry:\n    import datasets\nexcept ModuleNotFoundError as error:\n    print(error)"
    assert python(code) == "No module named 'datasets'"


@checkout
@pytest.mark.parametrize("first", ["", "import mcr_bench; "])
def test_the_library_is_imported_where_it_is_installed(first: str, library: Path) -> None:
    code = f"{first}import datasets, datasets.inner; print(datasets.OTHER, datasets.inner.NAME, datasets.__file__)"
    assert python(code, path=library) == f"True datasets.inner {library / 'datasets/__init__.py'}"


@checkout
def test_a_folder_reached_by_another_path_is_hidden_too(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(ROOT)
    code = "import mcr_bench, importlib.util as u; print(u.find_spec('datasets'))"
    assert python(code, cwd=tmp_path, path=tmp_path / "link") == "None"


@checkout
def test_transformers_does_not_believe_that_datasets_is_installed() -> None:
    pytest.importorskip("transformers")
    code = "import mcr_bench\nfrom transformers.utils import is_datasets_available\nprint(is_datasets_available())\n"
    assert python(code) == "False"


def test_only_the_one_folder_is_looked_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for room in ("ours", "theirs"):
        (tmp_path / room / "datasets").mkdir(parents=True)
    monkeypatch.setattr(sys, "path_hooks", [])
    monkeypatch.setattr(sys, "path_importer_cache", {str(tmp_path / "ours"): None, str(tmp_path / "theirs"): None})
    hide_from_others(tmp_path / "ours")
    assert list(sys.path_importer_cache) == [str(tmp_path / "theirs")]
    (hook,) = sys.path_hooks
    assert isinstance(hook(str(tmp_path / "ours")), OwnFolders)
    for other in (tmp_path / "theirs", tmp_path / "absent"):
        with pytest.raises(ImportError, match="is not"):
            hook(str(other))
