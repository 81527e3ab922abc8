"""What a script or a notebook defines becomes a file that can be imported, with all that it needs and nothing else."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

import mcr_bench
from mcr_bench.bench.api.objects import dataset_name, method_name, setting_values
from mcr_bench.bench.api.source_of import file_with
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.core.user_files import import_file
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.synthetic import Synthetic
from mcr_bench.methods.joint import Joint

CELLS = [
    "import math\nimport json as j\nfrom pathlib import *\nprint('not again')",
    "def f(:",  # a cell that could not run
    "FACTOR = 3\ndef times(x): return x * FACTOR\ndef unused(): return j",
    "class Base:\n    pass",
    "FACTOR = 4",
    "class Mine(Base):\n    power: 'Power' = 2\n    def area(self, r):\n"
    "        return times(math.pi * r ** self.power)",
    "Power = int\nraise SystemExit",
]


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    main = ModuleType("__main__")
    vars(main)["In"] = CELLS
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path / "home"))
    return main


@pytest.mark.usefixtures("notebook")
def test_a_class_of_a_notebook_has_what_it_names_as_it_was_defined_last(tmp_path: Path) -> None:
    path = file_with("Mine", tmp_path)
    text = path.read_text()
    assert import_file(path).Mine().area(1.0) == pytest.approx(4 * 3.14159265)
    assert all(word not in text for word in ("print", "unused", "json", "FACTOR = 3", "raise"))
    assert text.index("import math") < text.index("def times") < text.index("class Base") < text.index("class Mine")


def text_of(name: str, cells: list[str], notebook: ModuleType, folder: Path) -> str:
    vars(notebook)["In"] = cells
    return file_with(name, folder).read_text()


def test_texts_parameters_and_local_names_are_not_variables_of_the_notebook(
    tmp_path: Path, notebook: ModuleType
) -> None:
    variables = [f"{name} = open('{name}')" for name in ("joint", "batch", "total", "row", "literal", "used")]
    cls = (
        "from typing import Literal\n"
        "class Mine:\n    name = 'joint'\n    kind: Literal['literal'] = 'literal'\n"
        "    def loss(self, batch):\n        total = sum(row for row in batch)\n        return total, self.used\n"
    )
    assert "open" not in text_of("Mine", [*variables, cls], notebook, tmp_path)


def test_a_cell_that_was_run_again_stands_before_what_needs_it(tmp_path: Path, notebook: ModuleType) -> None:
    imports, cls = "import math\nSIZES = {'a': 1}", "class Mine:\n    size = math.tau * SIZES['a'] * SIZES['b']"
    cells = [imports, "SIZES['b'] = 2", cls, imports, "SIZES['b'] = 3"]
    vars(notebook)["In"] = cells
    assert import_file(file_with("Mine", tmp_path)).Mine.size == pytest.approx(3 * 6.2831853)


@pytest.mark.parametrize(
    ("cells", "value"),
    [
        (["X = [1]", "X.append(2)"], [1, 2]),
        (["X = 1", "X = X + 1"], 2),
        (["class X: size = 1", "X.size: int = 5", "X = X.size"], 5),
        (["from math import *", "from __future__ import annotations", "X = floor(2.5)"], 2),
    ],
)
def test_what_changes_a_value_is_copied_with_it(
    cells: list[str], value: object, tmp_path: Path, notebook: ModuleType
) -> None:
    vars(notebook)["In"] = [*cells, "class Mine:\n    x = X"]
    assert import_file(file_with("Mine", tmp_path)).Mine.x == value


def test_what_is_set_in_a_module_and_what_is_set_again_changes_no_file(tmp_path: Path, notebook: ModuleType) -> None:
    cells = ["import os\nSIZES = {}", "os.environ['A'] = '1'", "SIZES['b'] = 2", "class Mine:\n    x = os.sep, SIZES"]
    text = text_of("Mine", cells, notebook, tmp_path)
    assert "environ" not in text
    assert text_of("Mine", [*cells, "os.environ['A'] = '1'", "SIZES['b'] = 2"], notebook, tmp_path) == text


@pytest.mark.parametrize(
    "cell",
    [
        "from mcr_bench import run, predictions\np = predictions(run('joint', 'synthetic').rows[0])",
        "import mcr_bench\ndef go(n): return mcr_bench.run('joint', n)\np = go('synthetic')",
    ],
)
def test_what_would_start_a_comparison_by_way_of_another_call_is_refused(
    cell: str, tmp_path: Path, notebook: ModuleType
) -> None:
    vars(notebook)["In"] = [cell, "class Mine:\n    best = p\n"]
    with pytest.raises(UserError, match="Mine needs the value of `p = "):
        file_with("Mine", tmp_path)


@pytest.mark.parametrize("call", ["import mcr_bench as m\nc = m.run", "from mcr_bench import run as go\nc = go"])
def test_what_would_start_a_comparison_is_refused(call: str, tmp_path: Path, notebook: ModuleType) -> None:
    vars(notebook)["In"] = [f"{call}('joint', 'synthetic')", "class Mine:\n    best = c.rows\n", "class Other: pass"]
    assert "class Other" in file_with("Other", tmp_path).read_text()
    with pytest.raises(UserError, match=r"Mine needs the value of `c = (m.run|go)\('joint', 'synthetic'\)`"):
        file_with("Mine", tmp_path)


def test_the_same_source_is_the_same_file_and_another_one_is_another(notebook: ModuleType, tmp_path: Path) -> None:
    first = file_with("Mine", tmp_path)
    assert file_with("Mine", tmp_path) == first
    CELLS_BEFORE = vars(notebook)["In"]
    vars(notebook)["In"] = [*CELLS_BEFORE, "FACTOR = 5"]
    assert file_with("Mine", tmp_path) != first


def test_a_script_is_read_and_not_run_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import math\nclass Net:\n    size = math.tau\nraise SystemExit('run again')\n")
    main = ModuleType("__main__")
    main.__file__ = str(script)
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert import_file(file_with("Net", tmp_path)).Net.size == pytest.approx(6.2831853)


def test_a_class_without_source_is_refused_with_the_remedy(tmp_path: Path, notebook: ModuleType) -> None:
    vars(notebook)["In"] = []
    with pytest.raises(UserError, match=r"the source of Mine is not available.*Define it in a file"):
        file_with("Mine", tmp_path)


def test_registered_classes_have_their_names() -> None:
    assert (method_name(Joint), method_name("joint"), dataset_name(Synthetic)) == ("joint", "joint", "synthetic")
    assert method_name(Path("a/b.py")) == "a/b.py"


def test_a_class_of_a_module_is_named_by_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "somebody"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "helper.py").write_text("FACTOR = 2.0\n")
    (package / "theirs.py").write_text(
        "from dataclasses import dataclass\nfrom typing import ClassVar\n"
        "from mcr_bench.methods.base import Method, Reference\nfrom .helper import FACTOR\n\n\n"
        '@dataclass\nclass Theirs(Method):\n    """Joint training."""\n\n    name: ClassVar[str] = "theirs"\n'
        '    reference: ClassVar[Reference] = Reference("t", "v")\n    without_neutral: ClassVar[str] = "a test"\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "_own", set())
    from somebody.theirs import Theirs  # type: ignore[import-not-found]

    assert method_name(Theirs) == "somebody.theirs:Theirs"
    assert registry.method("somebody.theirs:Theirs") is Theirs
    assert "theirs" in registry.setting_owners()


def test_describe_takes_what_run_takes(notebook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = (
        "import torch\nfrom mcr_bench.methods.joint import Joint\n"
        "class Own(Joint):\n    name = 'own'\n"
        "class Net(torch.nn.Linear):\n"
        "    def __init__(self, shape, width, layers: int = 2):\n        super().__init__(shape[0], width)\n"
        "def make(shape, width, depth: int = 3):\n    return Net(shape, width)\n"
    )
    (tmp_path / "beside.py").write_text(cell)
    vars(notebook)["In"] = [cell]
    exec(cell, vars(notebook))
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        beside = importlib.import_module("beside")
        for place in (vars(notebook), vars(beside)):
            method, net, made = (mcr_bench.describe(place[name]) for name in ("Own", "Net", "make"))
            assert method["method"] == "own"
            assert str(net["encoder"]).endswith(":Net")
            assert "encoder.layers = 2" in str(net)
            assert "encoder.depth = 3" in str(made)
    with pytest.raises(UserError, match=r"not allowed. Give a name, a file, a class .* torch.nn.Module"):
        mcr_bench.describe(object())
    monkeypatch.delitem(sys.modules, "beside")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"No module named 'beside'. Give the file: ./beside.py:Net"):
        mcr_bench.describe("beside:Net")


def test_settings_are_texts_and_several_values_are_a_grid() -> None:
    settings = {"epochs": 2, "ogm.alpha": [0.1, 0.8], "agm.clip": False, "model.fusion": "gated"}
    assert setting_values(settings) == {
        "epochs": ["2"],
        "ogm.alpha": ["0.1", "0.8"],
        "agm.clip": ["false"],
        "model.fusion": ["gated"],
    }


def test_a_function_that_makes_a_network_becomes_a_class(notebook: ModuleType) -> None:
    vars(notebook)["In"] = [
        "import torch",
        "def make(shape, width, hidden: int = 4):\n    return torch.nn.Linear(shape[0], width)",
    ]
    make: dict[str, object] = {"__name__": "__main__"}
    exec("\n".join(vars(notebook)["In"]), make)
    (value,) = setting_values({"encoder.kind": make["make"]})["encoder.kind"]
    file, _, name = value.rpartition(":")
    net = getattr(import_file(Path(file)), name)((3,), 5, hidden=7)
    assert (name, net.net.out_features) == ("MakeNet", 5)


class Inner:
    """Where a class is that no other process can import."""

    class Method(Joint):
        """Not at the top."""


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (3, "methods: 3 is not allowed. Give names"),
        (Synthetic, "methods: <class.*Synthetic.*derive from Method"),
        (Inner.Method, "Define it at the top of its file"),
    ],
)
def test_what_is_no_method_is_refused(given: object, told: str) -> None:
    with pytest.raises(UserError, match=told):
        method_name(given)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"epochs": []}, "epochs has no value"),
        ({"encoder.kind": object()}, "encoder.kind=<object.*is not allowed"),
        ({"encoder.kind": lambda _shape, _width: None}, "Write a function at the top"),
    ],
)
def test_what_is_no_setting_is_refused(settings: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told):
        setting_values(settings)
