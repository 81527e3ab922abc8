"""Names: what is registered, what a file brings, what a wrong one is answered; and the digest of a method's source."""

import importlib
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.core.behaviour import behaviour_digest
from mcr_bench.bench.errors import UserError
from mcr_bench.methods.base import Method

TERMS = "mcr_bench.methods.terms"
METHOD = '''"""An idea."""
from dataclasses import dataclass
from typing import ClassVar

from mcr_bench.bench.settings import setting
from mcr_bench.methods.base import Method, Reference


@dataclass
class Mine(Method):
    """Weighted loss."""

    alpha: float = setting(0.5, "factor on the loss", at_least=0)
    name: ClassVar[str] = "mine"
    reference: ClassVar[Reference] = Reference("An idea", "this test")

    def loss(self, outputs, batch):
        """Half."""
        # a comment
        return {"fused": self.alpha * self.fit.task.loss(outputs.logits, batch.target)}
'''


@pytest.fixture(autouse=True)
def _files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods of files are forgotten after each test."""
    monkeypatch.setattr(registry, "_own", set())


def written(folder: Path, text: str, name: str = "mine.py") -> str:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return str(folder / name)


def test_every_name_leads_to_its_class() -> None:
    for name in registry.method_names():
        assert registry.method(name).name == name
    for name in registry.dataset_names():
        assert registry.dataset(name).name == name
    assert not {"base", "terms", "presets", "-npz", "_npz"} & {*registry.method_names(), *registry.dataset_names()}


@pytest.mark.parametrize(("name", "near"), [("jiont", "joint"), ("multi_loss", "multi-loss"), ("ogmge", "ogm-ge")])
def test_unknown_methods_name_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UserError, match=f"unknown method '{name}'. Did you mean [^?]*{near}"):
        registry.method(name)


def test_unknown_datasets_name_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown dataset 'sintetic'\. Did you mean synthetic"):
        registry.dataset("sintetic")
    with pytest.raises(UserError, match=r"no dataset adapter reads 'data.csv'. Files may end in \.npz; .*synthetic"):
        registry.dataset("data.csv")


def test_a_file_of_data_finds_its_adapter_by_its_ending() -> None:
    assert ".npz" in registry.dataset("anywhere/at_all.npz").suffixes


def test_third_parties_join_by_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = metadata.EntryPoint("theirs", "mcr_bench.methods.joint:Joint", "mcr_bench.methods")
    monkeypatch.setattr(registry, "entry_points", lambda group: [theirs] if group == theirs.group else [])
    assert "theirs" in registry.method_names()
    assert "theirs" not in registry.dataset_names()
    assert registry.method("theirs") is registry.method("joint")


def test_a_file_brings_a_method(tmp_path: Path) -> None:
    found = registry.method(written(tmp_path, METHOD))
    assert issubclass(found, Method)
    assert (found.name, found(alpha=0.25).alpha) == ("mine", 0.25)
    assert "mine" in registry.setting_owners()
    assert "mine" not in registry.method_names()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (METHOD + "\n\nclass Second(Mine):\n    name = 'second'\n", "exactly one subclass of Method, found 2"),
        ("from mcr_bench.methods.joint import Joint\n", "exactly one subclass of Method, found 0"),
        (METHOD.replace('"mine"', '"joint"'), "the name 'joint' is taken"),
        (METHOD.replace('"mine"', '"optimizer"'), "the name 'optimizer' is taken"),
        (METHOD.replace('"mine"', '"all"'), "the name 'all' is taken"),
        (METHOD.replace('    name: ClassVar[str] = "mine"\n', ""), "class Mine has no `name`"),
        (METHOD.replace("@dataclass\n", ""), "class Mine declares settings. Write @dataclass above it"),
        ("import no_such_library\n", "cannot be imported: ModuleNotFoundError: No module named 'no_such_library'"),
        ("def broken(:\n", "cannot be imported: SyntaxError"),
        ("1 / 0\n", "cannot be imported: ZeroDivisionError"),
        ("raise SystemExit(3)\n", "cannot be imported: SystemExit: 3"),
    ],
)
def test_a_file_that_brings_no_method_says_why(tmp_path: Path, text: str, says: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError) as error:
        registry.method(path)
    assert says in str(error.value)
    assert path in str(error.value)
    assert registry.setting_owners() == set(registry.method_names())


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.py' does not exist"):
        registry.method(str(tmp_path / "nowhere.py"))


def digest_of(folder: Path, text: str) -> str:
    return behaviour_digest(registry.method(written(folder, text)))


def test_the_digest_follows_the_code_not_its_words_nor_its_place(tmp_path: Path) -> None:
    original = digest_of(tmp_path / "a", METHOD)
    reworded = METHOD.replace("# a comment", "# other words, and\n\n        # more of them")
    reworded = reworded.replace('"""Half."""', '"""A loss."""').replace('"""An idea."""', '"""Mine."""')
    reworded = reworded.replace('"""Weighted loss."""\n', "# the docstring is gone\n")
    assert digest_of(tmp_path / "b", reworded) == original
    edits = [("self.alpha *", "2 * self.alpha *"), ("at_least=0", "at_least=1"), ("setting(0.5", "setting(0.4")]
    edited = [digest_of(tmp_path / f"c{i}", METHOD.replace(*edit)) for i, edit in enumerate(edits)]
    assert len({original, *edited}) == 4


IMPORTS = [
    f"from {TERMS}.invented import term\n",
    f"from {TERMS} import invented\n",
    f"import {TERMS}.invented\n",
    f"def late():\n    from {TERMS}.invented import term\n",
]


@pytest.fixture
def terms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that adds to the shared terms."""
    package = importlib.import_module(TERMS)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / "terms")])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path / "terms"
    forget_terms()


def forget_terms() -> None:
    for name in ("invented", "between"):
        sys.modules.pop(f"{TERMS}.{name}", None)
        vars(sys.modules[TERMS]).pop(name, None)


@pytest.mark.parametrize("line", IMPORTS)
@pytest.mark.parametrize("first", [None, f"import {TERMS}.between\n"], ids=["direct", "through another term"])
def test_the_digest_follows_shared_terms(tmp_path: Path, terms: Path, line: str, first: str | None) -> None:
    def digest_with(term: str, folder: str) -> str:
        forget_terms()
        written(terms, term, "invented.py")
        written(terms, line, "between.py")
        return digest_of(tmp_path / folder, METHOD.replace("from dataclasses", (first or line) + "from dataclasses"))

    original = digest_with("def term(x):\n    return x\n", "a")
    assert digest_with("def term(x):\n    '''Identity.'''\n    # unchanged\n    return x\n", "b") == original
    assert digest_with("def term(x):\n    return x + 1\n", "c") != original


def test_methods_have_different_digests() -> None:
    digests = {name: behaviour_digest(registry.method(name)) for name in registry.method_names()}
    assert len(set(digests.values())) == len(digests)
