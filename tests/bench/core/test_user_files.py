"""A method file and what lies beside it: found while it is imported, never mixed up, part of the run's key."""

import json
import sys
from pathlib import Path

import pytest

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.core.behaviour import behaviour_digest
from mcr_bench.bench.core.user_files import late_import
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.settings.declaration import declared
from mcr_bench.methods.base import Method

METHOD = """
from mcr_bench.methods.base import Method

import helper


class Mine(Method):
    name = "mine"
    weight = helper.WEIGHT

    def loss(self, outputs, batch):
        return {"fused": helper.weigh(self.fit.task.loss(outputs.logits, batch.target))}
"""
HELPER = "WEIGHT = {0}\n\n\ndef weigh(loss):\n    return WEIGHT * loss\n"


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_own", set())
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


def write(folder: Path, method: str = METHOD, **helpers: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.py").write_text(method)
    for name, text in helpers.items():
        (folder / f"{name}.py").write_text(text)
    return str(folder / "mine.py")


def weight(cls: type[Method]) -> float:
    found: float = cls.weight  # type: ignore[attr-defined]
    return found


def test_helpers_of_one_name_beside_two_files_do_not_mix(tmp_path: Path) -> None:
    first = registry.method(write(tmp_path / "a", helper=HELPER.format(2)))
    second = registry.method(write(tmp_path / "b", helper=HELPER.format(3)))
    assert (weight(first), weight(second)) == (2, 3)
    assert "helper" not in sys.modules
    assert all(str(tmp_path) not in entry for entry in sys.path)
    with pytest.raises(UserError, match="No module named 'helper'"):
        registry.method(write(tmp_path / "c"))


def test_a_helper_comes_before_a_module_of_its_name_that_is_loaded_already(tmp_path: Path) -> None:
    installed = sys.modules["helper"] = type(sys)("helper")
    try:
        assert weight(registry.method(write(tmp_path, helper=HELPER.format(5)))) == 5
        assert sys.modules["helper"] is installed
    finally:
        del sys.modules["helper"]


def test_a_helper_may_be_a_package_and_import_others(tmp_path: Path) -> None:
    package = tmp_path / "parts"
    package.mkdir()
    (package / "__init__.py").write_text("from parts.inner import WEIGHT\n")
    (package / "inner.py").write_text("import more\n\nWEIGHT = more.WEIGHT + 1\n")
    path = write(tmp_path, METHOD.replace("import helper", "import parts as helper"), more="WEIGHT = 6\n")
    assert weight(registry.method(path)) == 7
    assert not {"parts", "parts.inner", "more"} & set(sys.modules)


def test_a_folder_without_an_init_is_found_and_forgotten(tmp_path: Path) -> None:
    text = METHOD.replace("import helper", "import parts.inner as helper")
    for number in (3, 4):
        (tmp_path / str(number) / "parts").mkdir(parents=True)
        (tmp_path / str(number) / "parts/inner.py").write_text(HELPER.format(number))
        assert weight(registry.method(write(tmp_path / str(number), text))) == number
        assert not {"parts", "parts.inner"} & set(sys.modules)


def test_a_folder_that_only_has_the_name_of_a_library_does_not_hide_it(tmp_path: Path) -> None:
    (tmp_path / "packaging").mkdir()
    loaded = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "packaging"}
    try:
        text = METHOD.replace("import helper", "import packaging.version\nimport helper")
        assert weight(registry.method(write(tmp_path, text, helper=HELPER.format(2)))) == 2
    finally:
        sys.modules.update(loaded)


def test_a_file_named_as_a_standard_module_does_not_take_its_place(tmp_path: Path) -> None:
    path = write(tmp_path, "import json\n" + METHOD, helper=HELPER.format(1), json="raise SystemExit(4)\n")
    assert weight(registry.method(path)) == 1
    assert sys.modules["json"] is json


def test_a_base_class_may_come_from_beside(tmp_path: Path) -> None:
    base = """from __future__ import annotations
from dataclasses import dataclass
from typing import ClassVar
from mcr_bench.bench.settings import setting
from mcr_bench.methods.base import Method


@dataclass
class Base(Method):
    family: ClassVar[str] = "ours"
    alpha: float = setting(0.5, "a number")
"""
    method = "from base_of_ours import Base\n\n\nclass Mine(Base):\n    name = 'mine'\n"
    found = registry.method(write(tmp_path, method, base_of_ours=base))
    assert list(declared(found)) == ["alpha"]
    assert "base_of_ours" not in sys.modules


LATE = """from mcr_bench.methods.base import Method


class Mine(Method):
    name = "mine"

    def on_fit_start(self):
        import {0}
"""


@pytest.mark.parametrize(("module", "remedy"), [("helper", True), ("package.inner", True), ("not_here", False)])
def test_a_late_import_of_what_lies_beside_is_told_with_the_remedy(tmp_path: Path, module: str, remedy: bool) -> None:
    path = write(tmp_path, LATE.format(module), helper="x = 1\n")
    (tmp_path / "package").mkdir()
    (tmp_path / "package/__init__.py").touch()
    with pytest.raises(ModuleNotFoundError) as caught:
        registry.method(path)().on_fit_start()
    told = late_import(caught.value)
    assert told.startswith(f". Import {module.partition('.')[0]} at the top of {path}: ") is remedy
    assert bool(told) is remedy
    assert late_import(ImportError("cannot import", name=module)) == ""


def test_what_fails_beside_the_file_is_told_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be imported: ZeroDivisionError"):
        registry.method(write(tmp_path / "a", helper="1 / 0\n"))
    assert "helper" not in sys.modules
    dotted = METHOD.replace("import helper", "from . import helper")
    with pytest.raises(UserError, match="without the dot"):
        registry.method(write(tmp_path / "b", dotted, helper=HELPER.format(1)))


def test_another_helper_is_another_method(tmp_path: Path) -> None:
    digests = [
        behaviour_digest(registry.method(write(tmp_path / name, helper=text)))
        for name, text in (("a", HELPER.format(2)), ("b", HELPER.format(2) + "# a comment\n"), ("c", HELPER.format(3)))
    ]
    assert digests[0] == digests[1] != digests[2]


FORMS: dict[str, tuple[str, str]] = {
    "a misspelt hook": ("    def losses(self, outputs, batch): ...\n", "'losses' is not a hook, so nothing calls it"),
    "another": (
        "    def on_epoch_begin(self): ...\n    def after_backwards(self): ...\n",
        "Did you mean after_backward?",
    ),
    "parameters that are missing": ("    def loss(self, outputs): ...\n", "Write def loss(self, outputs, batch)"),
    "parameters too many": ("    def skip(self, facts, more): ...\n", "Write def skip(self, facts)"),
    "a name with a dot": ("    name = 'my.method'\n", "'my.method' is not allowed: letters, digits"),
    "a name with a comma": ("    name = 'a,b'\n", "'a,b' is not allowed"),
    "needs as text": ("    needs = 'own_heads'\n", "needs = 'own_heads': not allowed. Write Needs(own_heads=True)"),
    "a reference as text": ("    reference = 'A paper'\n", "reference = 'A paper': not allowed. Write Reference("),
    "no tuple of deviations": ("    deviations = 'none'\n", "Write ('one sentence each',)".replace("'", '"')),
    "an unknown role": ("    role = 'baseline'\n", "role = 'baseline': not allowed. Allowed: reference"),
    "what it needs to be made": ("    def __init__(self, alpha): ...\n", "missing a required argument: 'alpha'"),
}
PLAIN = "from mcr_bench.methods.base import Method\n\n\nclass Mine(Method):\n    name = 'mine'\n"


@pytest.mark.parametrize("case", FORMS)
def test_slips_of_a_first_method_are_told_before_anything_is_trained(case: str, tmp_path: Path) -> None:
    body, says = FORMS[case]
    with pytest.raises(UserError) as caught:
        registry.method(write(tmp_path, PLAIN + body))
    assert says in str(caught.value)
    assert "mine.py" in str(caught.value)


def test_helpers_of_a_method_may_have_other_names(tmp_path: Path) -> None:
    body = "    def _losses(self): ...\n    def margin(self): ...\n    def loss(self, outputs, batch, *rest): ...\n"
    assert registry.method(write(tmp_path, PLAIN + body)).name == "mine"
