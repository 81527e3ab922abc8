"""The digest of a class in a file of its own: pairs of short texts that are the same, and pairs that may not be."""

import sys
from pathlib import Path

import pytest

from mcr_bench.tests.support.runs.behaving import digest


@pytest.fixture(autouse=True)
def _no_bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


HEAD = "import torch\nimport torch.nn.functional as F\n"
CLASS = "\n\nclass Mine:\n    def act(self, x):\n        return act(x)\n"
# Each pair of texts stands between these two.
SAME = {
    "a function in a try": (
        "try:\n    import torch.nn.functional as f\nexcept ImportError:\n    f = None\n\ndef act(x): return f.relu(x)",
        "try:\n    from torch.nn import functional as f\n"
        "except ImportError:\n    f = None\n\ndef act(x): return f.relu(x)",
    ),
    "the style of an import that a parameter hides elsewhere": (
        "from torch import special as s\ndef act(x): return s.erf(x)\ndef other(s): return s",
        "import torch.special as s\ndef act(x): return s.erf(x)\ndef other(s): return s",
    ),
    "two names for one module": (
        "import torch.special as s\nfrom torch import special as t\ndef act(x): return s.erf(t.erf(x))",
        "import torch.special as s\ndef act(x): return s.erf(s.erf(x))",
    ),
    "the type of a variable of a function": (
        "def act(x):\n    y: int = 1\n    return x + y",
        "def act(x):\n    y = 1\n    return x + y",
    ),
    "a type by another name": (
        "from typing import List\ndef act(x: List[int]) -> List[int]: return x",
        "def act(x: list[int]) -> list[int]: return x",
    ),
    "a type variable of annotations": (
        "from typing import TypeVar\nT = TypeVar('T')\nPairs = list[tuple[int, T]]\ndef act(x: Pairs) -> T: return x",
        "def act(x): return x",
    ),
    "the type of a field": (
        "from dataclasses import dataclass\n@dataclass\nclass Act:\n    x: int = 3\ndef act(x): return Act().x",
        "import dataclasses as d\n@d.dataclass\nclass Act:\n    x: 'float' = 3\ndef act(x): return Act().x",
    ),
    "the type of a class variable": (
        "from typing import ClassVar\nclass Act:\n    x: ClassVar[int] = 3\ndef act(x): return Act.x",
        "import typing as t\nclass Act:\n    x: t.ClassVar[float] = 3\ndef act(x): return Act.x",
    ),
    "dots for pass": (
        "class Act(Exception): ...\ndef act(x): raise Act",
        "class Act(Exception):\n    pass\ndef act(x): raise Act",
    ),
    "the annotations of a decorated function": (
        "from functools import cache\n@cache\ndef act(x: int) -> int: return x",
        "import functools\n@functools.cache\ndef act(x): return x",
    ),
    "an attribute by a constant text": (
        "def act(x): return getattr(x, 'T')",
        "'Acts.'\ndef act(x): return getattr(x, 'T')",
    ),
    "a fact beside a text with its name": (
        "class Act:\n    role = 'reference'\n    reference = 'a'\ndef act(x): return Act.role",
        "class Act:\n    role = 'reference'\n    reference = 'b'\ndef act(x): return Act.role",
    ),
    "the type of an attribute of a plain class": (
        "class Act(torch.nn.Module):\n    x: int = 3\n    y: int\ndef act(x): return Act.x",
        "class Act(torch.nn.Module):\n    x = 3\ndef act(x): return Act.x",
    ),
    "for type checkers or else": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
        "    import pandas\nelse:\n    N = 1\ndef act(x): return x + N",
        "N = 1\ndef act(x): return x + N",
    ),
    "documentation beside computed names": (
        "def act(x):\n    'One.'\n    return getattr(x, x.name + 'a')",
        "def act(x):\n    'Two.'\n    return getattr(x, x.name + 'a')",
    ),
}
OTHER = {
    "a name that a parameter hides": ("def act(x): return F.relu(x)", "def act(x, F=torch.special): return F.relu(x)"),
    "a name that a variable hides": (
        "def act(x):\n    return F.relu(x)",
        "def act(x):\n    F = torch.special\n    return F.relu(x)",
    ),
    "two imports of one name": (
        "from torch import erf as f\nfrom torch import exp as f\ndef act(x): return f(x)",
        "from torch import exp as f\nfrom torch import erf as f\ndef act(x): return f(x)",
    ),
    "imports that a condition chooses": (
        "if torch.cuda.is_available():\n    from torch import erf as f\n"
        "else:\n    from torch import exp as f\ndef act(x): return f(x)",
        "if torch.cuda.is_available():\n    from torch import exp as f\n"
        "else:\n    from torch import erf as f\ndef act(x): return f(x)",
    ),
    "an import that may fail": (
        "try:\n    import flashy\n    N = 1\nexcept ImportError:\n    N = 2\ndef act(x): return x + N",
        "try:\n    N = 1\nexcept ImportError:\n    N = 2\ndef act(x): return x + N",
    ),
    "an import that may do something": ("import rich\ndef act(x): return x", "def act(x): return x"),
    "a function of Python hidden in another function": (
        "def other(x):\n    from torch import abs\n    return abs(x)\ndef act(x): return abs(x)",
        "from torch import abs\ndef other(x): return abs(x)\ndef act(x): return abs(x)",
    ),
    "a function of Python hidden later": (
        "N = abs(torch.ones(1))\nfrom torch import abs\ndef act(x): return abs(x + N)",
        "from torch import abs\nN = abs(torch.ones(1))\ndef act(x): return abs(x + N)",
    ),
    "a docstring that is read": (
        "def act(x):\n    '2'\n    return x * int(act.__doc__)",
        "def act(x):\n    '3'\n    return x * int(act.__doc__)",
    ),
    "a docstring that inspect reads": (
        "import inspect\ndef act(x):\n    '2'\n    return x * int(inspect.getdoc(act))",
        "import inspect\ndef act(x):\n    '3'\n    return x * int(inspect.getdoc(act))",
    ),
    "a comment that is read": (
        "import inspect\ndef act(x):\n    # one\n    return x * len(inspect.getsource(act))",
        "import inspect\ndef act(x):\n    # three\n    return x * len(inspect.getsource(act))",
    ),
    "annotations that are read": (
        "def act(x: int): return act.__annotations__['x'](x)",
        "def act(x: float): return act.__annotations__['x'](x)",
    ),
    "annotations that a decorator reads": (
        "from functools import singledispatch\n@singledispatch\n"
        "def act(x): return x\n@act.register\ndef _(x: int): return 1",
        "from functools import singledispatch\n@singledispatch\n"
        "def act(x): return x\n@act.register\ndef _(x: str): return 1",
    ),
    "annotations that a script compiler reads": (
        "@torch.jit.script\ndef act(x, n: int = 1): return x + n",
        "@torch.jit.script\ndef act(x, n: float = 1): return x + n",
    ),
    "hints that are read": (
        "from typing import get_type_hints\nclass Act:\n    a: int\ndef act(x): return get_type_hints(Act)['a'](x)",
        "from typing import get_type_hints\nclass Act:\n    a: float\ndef act(x): return get_type_hints(Act)['a'](x)",
    ),
    "a field or a class variable": (
        "from dataclasses import dataclass\n@dataclass\nclass Act:\n    x: int = 3\ndef act(x): return Act().x",
        "from dataclasses import dataclass\n@dataclass\nclass Act:\n    x = 3\ndef act(x): return Act().x",
    ),
    "a field of what becomes a dataclass later": (
        "from dataclasses import dataclass\nclass Act:\n    x: int = 3\ndataclass(Act)\ndef act(x): return Act().x",
        "from dataclasses import dataclass\nclass Act:\n    x = 3\ndataclass(Act)\ndef act(x): return Act().x",
    ),
    "a field of a named tuple": (
        "from typing import NamedTuple\nclass Act(NamedTuple):\n    x: int = 3\ndef act(x): return len(Act())",
        "from typing import NamedTuple\nclass Act(NamedTuple):\n    x = 3\ndef act(x): return len(Act())",
    ),
    "a field of keywords": (
        "from dataclasses import dataclass, KW_ONLY\n@dataclass\n"
        "class Act:\n    _: KW_ONLY\n    x: int = 3\ndef act(x): return 1",
        "from dataclasses import dataclass, KW_ONLY\n@dataclass\n"
        "class Act:\n    _: int = 1\n    x: int = 3\ndef act(x): return 1",
    ),
    "a class variable by another name": (
        "from dataclasses import dataclass\nfrom typing import ClassVar\nC = ClassVar\n"
        "@dataclass\nclass Act:\n    x: C[int] = 3\ndef act(x): return Act.x",
        "from dataclasses import dataclass\nfrom typing import ClassVar\nC = list\n"
        "@dataclass\nclass Act:\n    x: C[int] = 3\ndef act(x): return Act.x",
    ),
    "a variable that an annotation makes local": (
        "y = 1\ndef act(x):\n    y: int\n    return x + y",
        "y = 1\ndef act(x):\n    return x + y",
    ),
    "a local name among globals": (
        "from torch import exp as f\ndef act(x): return globals()['f'](x)",
        "from torch import erf as f\ndef act(x): return globals()['f'](x)",
    ),
    "a local name in evaluated text": (
        "from torch import exp as f\ndef act(x): return eval('f(x)')",
        "from torch import erf as f\ndef act(x): return eval('f(x)')",
    ),
    "another name among globals": (
        "from torch import exp as f\ndef act(x): return globals()['f'](x)",
        "from torch import exp as g\ndef act(x): return globals()['f'](x)",
    ),
    "a text that is looked up": (
        "A = 'exp'\nB = 'erf'\ndef act(x): return getattr(torch, globals()['AB'[0]])(x)",
        "A = 'erf'\nB = 'erf'\ndef act(x): return getattr(torch, globals()['AB'[0]])(x)",
    ),
    "names that a star brings": (
        "from torch import *\ndef act(x): return exp(x)",
        "from torch.special import *\ndef act(x): return exp(x)",
    ),
    "a star for a name": (
        "from torch import *\ndef act(x): return exp(x)",
        "from torch import exp\ndef act(x): return exp(x)",
    ),
    "a name that is computed": (
        "def act(x): return getattr(torch, 'ex' + 'p')(x)",
        "def act(x): return getattr(torch, 'er' + 'f')(x)",
    ),
    "a fact that is read": (
        "class Act:\n    deviations = ('1',)\ndef act(x): return x * int(Act.deviations[0])",
        "class Act:\n    deviations = ('2',)\ndef act(x): return x * int(Act.deviations[0])",
    ),
    "a fact that is read by a computed text": (
        "class Act:\n    title = 'a'\ndef act(x): return getattr(Act, 'ti' + 'tle')",
        "class Act:\n    title = 'b'\ndef act(x): return getattr(Act, 'ti' + 'tle')",
    ),
    "a fact with two names": (
        "class Act:\n    title = other = 'a'\ndef act(x): return Act.other",
        "class Act:\n    title = other = 'b'\ndef act(x): return Act.other",
    ),
    "a fact that is read by a text": (
        "class Act:\n    title = 'a'\ndef act(x): return x * len(getattr(Act, 'title'))",
        "class Act:\n    title = 'ab'\ndef act(x): return x * len(getattr(Act, 'title'))",
    ),
    "a help text that is read": (
        "from dataclasses import dataclass, fields\nfrom mcr_bench.bench.settings import setting\n@dataclass\n"
        "class Act:\n    a: int = setting(1, '2')\ndef act(x): return x * int(fields(Act)[0].metadata['doc'])",
        "from dataclasses import dataclass, fields\nfrom mcr_bench.bench.settings import setting\n@dataclass\n"
        "class Act:\n    a: int = setting(1, '3')\ndef act(x): return x * int(fields(Act)[0].metadata['doc'])",
    ),
    "another function called setting": (
        "def setting(a, b): return len(b)\nN = setting(1, 'a')\ndef act(x): return x * N",
        "def setting(a, b): return len(b)\nN = setting(1, 'ab')\ndef act(x): return x * N",
    ),
    "a help text that does something": (
        "from mcr_bench.bench.settings import setting\nN = setting(1, str(torch.manual_seed(1)))\ndef act(x): return x",
        "from mcr_bench.bench.settings import setting\nN = setting(1, str(torch.manual_seed(2)))\ndef act(x): return x",
    ),
    "a patched library": (
        "F.relu = torch.exp\ndef act(x): return F.relu(x)",
        "from torch.nn.functional import relu\nF.relu = torch.exp\ndef act(x): return relu(x)",
    ),
    "a default expression": ("def act(x, y=torch.ones(2)): return x + y", "def act(x, y=torch.ones(3)): return x + y"),
    "for type checkers of its own": (
        "TYPE_CHECKING = True\nN = 1\nif TYPE_CHECKING:\n    N = 2\ndef act(x): return x + N",
        "TYPE_CHECKING = True\nN = 1\ndef act(x): return x + N",
    ),
    "what a class body imports": (
        "class Act:\n    from torch import exp as f\ndef act(x): return Act.f(x)",
        "class Act:\n    from torch import erf as f\ndef act(x): return Act.f(x)",
    ),
    "what a class body imports on a condition": (
        "class Act:\n    if torch:\n        from torch import exp as f, erf as g\ndef act(x): return Act.f(x)",
        "class Act:\n    if torch:\n        from torch import exp as g, erf as f\ndef act(x): return Act.f(x)",
    ),
    "an order of assignments": ("a = 1\na = 2\ndef act(x): return a", "a = 2\na = 1\ndef act(x): return a"),
    "whole numbers and others": ("def act(x): return x * 1", "def act(x): return x * 1.0"),
    "true and one": ("def act(x): return x * True", "def act(x): return x * 1"),
    "bytes and text": ("def act(x): return b'a'", "def act(x): return 'a'"),
    "format of a text": ("def act(x): return f'{x:.2f}'", "def act(x): return f'{x:.3f}'"),
}


def between(text: str) -> str:
    return HEAD + text + CLASS


@pytest.mark.parametrize("case", SAME)
def test_another_style_is_the_same(case: str, tmp_path: Path) -> None:
    one, other = (digest(tmp_path / str(i), between(text)) for i, text in enumerate(SAME[case]))
    assert one == other


@pytest.mark.parametrize("case", OTHER)
def test_in_doubt_it_is_another(case: str, tmp_path: Path) -> None:
    one, other = (digest(tmp_path / str(i), between(text)) for i, text in enumerate(OTHER[case]))
    assert one != other
