"""The digest of a class and the modules that it is made of: what of them counts, and by whatever way they come."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mcr_bench.bench.core.behaviour import behaviour_digest
from mcr_bench.bench.core.user_files import import_file
from mcr_bench.bench.errors import UserError
from mcr_bench.tests.support.runs.behaving import Files, digest, forget

MINE = "import helper\n\n\nclass Mine:\n    def act(self, x):\n        return helper.scale(x) * helper.W\n"
HELPER = "W = 2\n\n\ndef scale(x):\n    return x / 3\n"
HELPER_F = "import torch.nn.functional as F\n\nW = 2\n\n\ndef scale(x):\n    return F.relu(x)\n"
STATEFUL = "W = 2\n\n\ndef scale(x):\n    global W\n    W += 1\n    return x\n"


def files(mine: str = MINE, **helpers: str) -> dict[str, str]:
    return {"mine.py": mine} | {f"{name}.py": text for name, text in helpers.items()}


def mine(imports: str, body: str) -> str:
    return f"{imports}\n\n\nclass Mine:\n    def act(self, x):\n        return {body}\n"


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    forget("package_of_mine", "apart")


SAME: dict[str, tuple[Files, Files]] = {
    "a comment in the helper": (files(helper=HELPER), files(helper=HELPER.replace("W = 2", "W = 2  # twice"))),
    "a docstring of the helper": (files(helper=HELPER), files(helper='"""Helps."""\n\n' + HELPER)),
    "the helper's functions by name": (
        files(helper=HELPER),
        files(mine("from helper import W, scale as s", "s(x) * W"), helper=HELPER),
    ),
    "the helper by another name": (
        files(helper=HELPER),
        files(mine("import helper as h", "h.scale(x) * h.W"), helper=HELPER),
    ),
    "the style of the helper's own imports": (
        files(helper=HELPER_F),
        files(helper=HELPER_F.replace("import torch.nn.functional as F", "from torch.nn import functional as F")),
    ),
    "a library's module through the helper": (
        files(mine("import helper", "helper.F.relu(x)"), helper=HELPER_F),
        files(mine("from helper import F as f", "f.relu(x)"), helper=HELPER_F),
    ),
    "a file beside it that nothing imports": (files(helper=HELPER), files(helper=HELPER, other="1 / 0\n")),
    "two helpers in a row": (
        files(mine("import helper, other", "helper.W + other.W"), helper=HELPER, other="W = 1\n"),
        files(mine("from helper import W as V\nfrom other import W", "V + W"), helper=HELPER, other="W = 1\n"),
    ),
    "a package's name handed on": (
        files(
            mine("from parts import W", "W"),
            **{"parts/__init__": "from parts.inner import W\n"},
            **{"parts/inner": "W = 1\n"},
        ),
        files(
            mine("from parts.inner import W", "W"),
            **{"parts/__init__": "from parts.inner import W\n"},
            **{"parts/inner": "W = 1\n"},
        ),
    ),
    "texts that the helper keeps for words": (
        files(mine("from helper import P", "x"), helper="P = 'a paper'\n"),
        files(mine("from helper import P", "x"), helper="P = 'another paper'\n"),
    ),
}
OTHER: dict[str, tuple[Files, Files]] = {
    "a constant": (files(helper=HELPER), files(helper=HELPER.replace("2", "4"))),
    "an operation": (files(helper=HELPER), files(helper=HELPER.replace("/", "*"))),
    "a constant of the helper's helper": (
        files(helper="from more import W, scale\n", more=HELPER),
        files(helper="from more import W, scale\n", more=HELPER.replace("2", "4")),
    ),
    "what a function of the helper imports": (
        files(
            helper="W = 2\n\n\ndef scale(x):\n    import more\n\n    return more.scale(x)\n\n\nscale(1)\n", more=HELPER
        ),
        files(
            helper="W = 2\n\n\ndef scale(x):\n    import more\n\n    return more.scale(x)\n\n\nscale(1)\n",
            more=HELPER.replace("/", "*"),
        ),
    ),
    "what a hook imports": (
        files("class Mine:\n    def act(self):\n        import helper\n\n        return helper.W\n", helper=HELPER),
        files("class Mine:\n    def act(self):\n        import helper\n\n        return helper.W\n", helper="W = 3\n"),
    ),
    "what a hook imports of a package": (
        files(
            "class Mine:\n    def act(self):\n        from parts.inner import W\n\n        return W\n",
            **{"parts/__init__": "", "parts/inner": "W = 1\n"},
        ),
        files(
            "class Mine:\n    def act(self):\n        from parts.inner import W\n\n        return W\n",
            **{"parts/__init__": "", "parts/inner": "W = 2\n"},
        ),
    ),
    "a module of a package": (
        files(mine("import parts.inner", "parts.inner.W"), **{"parts/__init__": ""}, **{"parts/inner": "W = 1\n"}),
        files(mine("import parts.inner", "parts.inner.W"), **{"parts/__init__": ""}, **{"parts/inner": "W = 2\n"}),
    ),
    "a module of a folder that is no package": (
        files(mine("import parts.inner", "parts.inner.W"), **{"parts/inner": "W = 1\n"}),
        files(mine("import parts.inner", "parts.inner.W"), **{"parts/inner": "W = 2\n"}),
    ),
    "what a package does": (
        files(mine("import parts.inner", "parts.inner.W"), **{"parts/__init__": ""}, **{"parts/inner": "W = 1\n"}),
        files(
            mine("import parts.inner", "parts.inner.W"), **{"parts/__init__": "print()\n"}, **{"parts/inner": "W = 1\n"}
        ),
    ),
    "a helper imported for what it does": (
        files("import helper\n\n\nclass Mine: ...\n", helper="import torch\n\ntorch.set_num_threads(1)\n"),
        files("class Mine: ...\n", helper="import torch\n\ntorch.set_num_threads(1)\n"),
    ),
    "another order of helpers": (
        files(mine("import helper\nimport other", "helper.W + other.W"), helper=HELPER, other="W = 1\n"),
        files(mine("import other\nimport helper", "helper.W + other.W"), helper=HELPER, other="W = 1\n"),
    ),
    "a base from the helper": (
        files("from helper import Base\n\n\nclass Mine(Base): ...\n", helper="class Base:\n    a = 1\n"),
        files("from helper import Base\n\n\nclass Mine(Base): ...\n", helper="class Base:\n    a = 2\n"),
    ),
    "a decorator from the helper": (
        files("import helper\n\n\n@helper.d\nclass Mine: ...\n", helper="def d(c):\n    c.a = 1\n    return c\n"),
        files("import helper\n\n\n@helper.d\nclass Mine: ...\n", helper="def d(c):\n    c.a = 2\n    return c\n"),
    ),
    "a star": (
        files(mine("from helper import *", "scale(x)"), helper=HELPER),
        files(mine("from helper import *", "scale(x)"), helper=HELPER + "\n\ndef scale(x):\n    return x\n"),
    ),
    "a helper imported by its name as a text": (
        files(mine("import importlib\n\nh = importlib.import_module('hel' + 'per')", "h.W"), helper=HELPER),
        files(
            mine("import importlib\n\nh = importlib.import_module('hel' + 'per')", "h.W"),
            helper=HELPER.replace("2", "4"),
        ),
    ),
    "a file beside it that is executed": (
        files(
            mine("from pathlib import Path\n\nexec(Path(__file__).with_name('helper.py').read_text())", "W"),
            helper=HELPER,
        ),
        files(
            mine("from pathlib import Path\n\nexec(Path(__file__).with_name('helper.py').read_text())", "W"),
            helper=HELPER.replace("2", "4"),
        ),
    ),
    "the style of importing what changes": (
        files(mine("import helper", "helper.scale(x) * helper.W"), helper=STATEFUL),
        files(mine("from helper import W, scale", "scale(x) * W"), helper=STATEFUL),
    ),
    "an import of the helper that is looked up": (
        files(mine("import helper", "getattr(helper, 'F').relu(x)"), helper="import torch.nn.functional as F\n"),
        files(mine("import helper", "getattr(helper, 'F').relu(x)"), helper="import torch as F\n"),
    ),
    "an import of a helper that is handed on": (
        files(mine("import helper\n\nh = helper", "h.F.relu(x)"), helper="import torch.nn.functional as F\n"),
        files(mine("import helper\n\nh = helper", "h.F.relu(x)"), helper="import torch as F\n"),
    ),
    "a library's module through the helper": (
        files(mine("import helper", "helper.F.relu(x)"), helper="import torch.nn.functional as F\n"),
        files(mine("import helper", "helper.F.relu(x)"), helper="import torch as F\n"),
    ),
    "a text of the helper that counts": (
        files(mine("from helper import P", "len(P)"), helper="P = 'a paper'\n"),
        files(mine("from helper import P", "len(P)"), helper="P = 'another paper'\n"),
    ),
    "annotations of the helper that are read here": (
        files(mine("import helper", "helper.f.__annotations__['x'](x)"), helper="def f(x: int): ...\n"),
        files(mine("import helper", "helper.f.__annotations__['x'](x)"), helper="def f(x: float): ...\n"),
    ),
}


@pytest.mark.parametrize("case", SAME)
def test_another_style_is_the_same(case: str, tmp_path: Path) -> None:
    one, other = (digest(tmp_path / str(i), texts) for i, texts in enumerate(SAME[case]))
    assert one == other


@pytest.mark.parametrize("case", OTHER)
def test_another_module_is_another_class(case: str, tmp_path: Path) -> None:
    one, other = (digest(tmp_path / str(i), texts) for i, texts in enumerate(OTHER[case]))
    assert one != other


def test_neither_the_folder_nor_where_one_works_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for name in ("a", "b c"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        digests.add(digest(tmp_path / name / "deep", files(helper=HELPER)))
    assert len(digests) == 1


def test_the_name_of_the_file_does_not_count(tmp_path: Path) -> None:
    digests = set()
    for name in ("mine", "ours"):
        for file, text in (("helper", HELPER), (name, MINE)):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{file}.py").write_text(text, encoding="utf-8")
        digests.add(behaviour_digest(import_file(tmp_path / name / f"{name}.py").Mine))
    assert len(digests) == 1


def test_classes_of_one_file_differ(tmp_path: Path) -> None:
    digest(tmp_path, "class Mine: ...\n\n\nclass Other: ...\n")
    modules = [
        cls for name, cls in sys.modules.items() if name.startswith("mcr_bench_user_mine") and str(tmp_path) in str(cls)
    ]
    (module,) = modules
    assert behaviour_digest(module.Mine) != behaviour_digest(module.Other)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The digest of class Mine in `package_of_mine.mine` of a package in a folder on Python's path."""

    def of(place: str, **texts: str) -> str:
        folder = tmp_path / place
        for name, text in texts.items():
            path = folder / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        forget("package_of_mine", "apart")
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(folder))
            cls = importlib.import_module("package_of_mine.mine").Mine
            assert isinstance(cls, type)
            return behaviour_digest(cls)

    return of


PACKAGE = {
    "package_of_mine/__init__": "",
    "package_of_mine/mine": "from .losses import W\n\n\nclass Mine:\n    w = W\n",
    "package_of_mine/losses": "W = 1\n",
}


@pytest.mark.parametrize("place", ["lib/site-packages", "checkout"])
def test_the_rest_of_an_installed_package_counts(installed: Callable[..., str], place: str) -> None:
    original = installed(f"1/{place}", **PACKAGE)
    absolute = PACKAGE | {
        "package_of_mine/mine": "from package_of_mine import losses\n\n\nclass Mine:\n    w = losses.W\n"
    }
    assert installed(f"2/{place}", **absolute) == original
    assert installed(f"3/{place}", **PACKAGE | {"package_of_mine/losses": "W = 1  # one\n"}) == original
    assert installed(f"4/{place}", **PACKAGE | {"package_of_mine/losses": "W = 2\n"}) != original
    late = {
        "package_of_mine/mine": "class Mine:\n    def act(self):\n        from .losses import W\n\n        return W\n"
    }
    first = installed(f"5/{place}", **PACKAGE | late)
    assert installed(f"6/{place}", **PACKAGE | late | {"package_of_mine/losses": "W = 2\n"}) != first


@pytest.mark.parametrize(("place", "counts"), [("lib/site-packages", False), ("checkout", True)])
def test_modules_from_elsewhere_count_unless_they_are_installed(
    installed: Callable[..., str], place: str, counts: bool
) -> None:
    package = PACKAGE | {"package_of_mine/losses": "from apart import W\n"}
    one, other = (installed(f"{w}/{place}", **package, apart=f"W = {w}\n") for w in (1, 2))
    assert (one != other) is counts


def test_a_class_without_a_source_says_so() -> None:
    cls = type("Mine", (), {"__module__": "nowhere_at_all"})
    with pytest.raises(UserError, match=r"the source of class Mine cannot be read\. Define it in a file"):
        behaviour_digest(cls)


def test_a_method_built_on_another_follows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    methods = importlib.import_module("mcr_bench.methods")
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    digests = []
    for i, text in enumerate(("a = 1", "a = 2", "a = 2  # two")):
        (tmp_path / "invented_method.py").write_text(f"class Base:\n    {text}\n", encoding="utf-8")
        try:
            line = "from mcr_bench.methods.invented_method import Base\n\n\nclass Mine(Base): ...\n"
            digests.append(digest(tmp_path / str(i), line))
        finally:
            del sys.modules["mcr_bench.methods.invented_method"]
            del methods.invented_method
    assert digests[0] != digests[1] == digests[2]
