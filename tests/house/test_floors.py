"""The house: rooms on floors, no circle, one sentence per folder, few and small files; each rule can be broken."""

import ast
import re
from collections import Counter
from pathlib import Path
from statistics import median

import pytest

import mcr_bench
from mcr_bench.tests.support.house.house import circles, floors_of, homeless, sources, upward

ROOT = Path(mcr_bench.__file__).parent
REGISTRIES = ("methods", "datasets", "datasets/presets")  # a file there is a method, a dataset, a preset
MOST_FILES, LONGEST, MEDIAN_FILE, MEDIAN_FUNCTION = 16, 350, 90, 8
FLOORS = """
| `bench/task.py` | what is learned |
| `bench/core/` | What any program needs. |
| `datasets/base.py` | the contract |
| `bench/fit/` | What a method may see. |
| `bench/figures/` | Pictures. |
| `bench/report/` | Tables. |
| `datasets/` | Adapters. |
"""
UNDER_TYPE_CHECKING = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from mcr_bench.{} import X\n"


def planted(root: Path, files: dict[str, str]) -> Path:
    """A small house with these files (path below the root -> text) on the floors above."""
    for path, text in {"docs/architecture.md": FLOORS, **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return root


def docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def test_every_import_looks_down_the_floors() -> None:
    assert len(floors_of(ROOT)) > 30
    assert homeless(ROOT) == []
    assert upward(ROOT) == []


def test_no_circle_ties_files_or_folders() -> None:
    assert circles(ROOT) == []


@pytest.mark.parametrize(
    "text",
    [
        "from mcr_bench.bench.report import table\n",
        "from mcr_bench.bench.report.table import X\n",
        "import mcr_bench.bench.report.table\n",
        "def f() -> None:\n    from mcr_bench.bench.report.table import X\n",
        UNDER_TYPE_CHECKING.format("bench.report.table"),
    ],
)
def test_an_upward_import_is_seen(tmp_path: Path, text: str) -> None:
    root = planted(tmp_path, {"bench/report/table.py": "", "bench/core/files.py": text})
    assert upward(root) == ["bench/core/files imports bench/report/table"]


def test_types_may_look_up_to_a_contract_only(tmp_path: Path) -> None:
    files = {"datasets/base.py": "", "bench/core/files.py": UNDER_TYPE_CHECKING.format("datasets.base")}
    assert upward(planted(tmp_path, files)) == []
    (tmp_path / "bench/core/files.py").write_text("from mcr_bench.datasets.base import X\n")
    assert upward(tmp_path) == ["bench/core/files imports datasets/base"]
    (tmp_path / "bench/core/files.py").write_text(
        UNDER_TYPE_CHECKING.format("datasets.base") + "else:\n    from mcr_bench.datasets.base import X\n"
    )
    assert upward(tmp_path) == ["bench/core/files imports datasets/base"]


def test_report_and_figures_stay_apart(tmp_path: Path) -> None:
    root = planted(tmp_path, {"bench/figures/a.py": "", "bench/report/b.py": "import mcr_bench.bench.figures.a\n"})
    assert upward(root) == ["bench/report/b imports bench/figures/a"]


def test_a_circle_of_files_is_seen(tmp_path: Path) -> None:
    files = {
        "bench/core/a.py": "from mcr_bench.bench.core.b import X\n",
        "bench/core/b.py": "def f() -> None:\n    from mcr_bench.bench.core import c\n",
        "bench/core/c.py": "import mcr_bench.bench.core.a\n",
        "bench/core/d.py": "import mcr_bench.bench.core.a\n",
    }
    assert circles(planted(tmp_path, files)) == [["bench/core/a", "bench/core/b", "bench/core/c"]]


def test_a_circle_of_folders_is_seen_where_no_file_is_in_one(tmp_path: Path) -> None:
    files = {
        "bench/core/a.py": "import mcr_bench.bench.fit.b\n",
        "bench/fit/b.py": "",
        "bench/fit/c.py": "import mcr_bench.bench.core.d\n",
        "bench/core/d.py": "",
    }
    assert circles(planted(tmp_path, files)) == [["bench/core", "bench/fit"]]


def test_a_room_that_is_not_listed_is_seen(tmp_path: Path) -> None:
    assert homeless(planted(tmp_path, {"bench/cellar/a.py": ""})) == ["bench/cellar/a"]


def test_every_folder_has_the_sentence_of_the_table() -> None:
    folders = {room: text for room, text in floors_of(ROOT).items() if (ROOT / room).is_dir()}
    assert {room: docstring(ROOT / room / "__init__.py") for room in folders} == folders
    inner = {path.parent for path in sources(ROOT).values()}
    assert [str(folder) for folder in inner if not docstring(folder / "__init__.py")] == []


def test_folders_hold_few_files() -> None:
    counts = Counter(path.parent for path in sources(ROOT).values() if path.name != "__init__.py")
    few = {str(k.relative_to(ROOT)): n for k, n in counts.items() if n > MOST_FILES}
    assert few.keys() <= set(REGISTRIES)


def test_an_underscore_means_private_and_nothing_else() -> None:
    """No module is private as a whole, and the documentation asks nobody to import a private name."""
    parts = {part for name in sources(ROOT) for part in name.split("/")}
    assert [part for part in parts if part.startswith("_")] == []
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    private = re.compile(r"(?:from|import) +mcr_bench[\w.]*\._|^from mcr_bench[\w.]* import .*\b_\w", re.MULTILINE)
    assert [page.name for page in pages if private.search(page.read_text(encoding="utf-8"))] == []


def test_files_and_functions_are_small() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in sources(ROOT).items()}
    assert {name: n for name, n in lengths.items() if n > LONGEST} == {}
    assert median(lengths.values()) <= MEDIAN_FILE
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sources(ROOT).values()]
    functions = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert median(node.end_lineno - node.lineno + 1 for node in functions if node.end_lineno) <= MEDIAN_FUNCTION


def test_half_of_the_methods_have_at_most_ninety_lines() -> None:
    """With docstring, settings and card, all of which stand in the method's own file."""
    files = [path for name, path in sources(ROOT).items() if re.fullmatch(r"methods/(?!base$)\w+", name)]
    lengths = [len(path.read_text(encoding="utf-8").splitlines()) for path in files if path.name != "__init__.py"]
    assert len(lengths) >= 56
    assert median(lengths) <= MEDIAN_FILE
