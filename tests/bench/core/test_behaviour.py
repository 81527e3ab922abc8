"""The digest of a class in a file of its own: pairs of sources that compute the same, and pairs that may not."""

import sys
from pathlib import Path

import pytest

from mcr_bench.tests.support.behaving import digest

METHOD = '''"""An idea of ours."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.settings import Space, setting
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Method, Needs, Neutral, Reference

PAPER = "the paper"
CODE = f"{PAPER}'s code"
RATES = {"slow": 0.1, "fast": 0.9}


@dataclass
class Mine(Method):
    """Weighs the loss."""

    name: ClassVar[str] = "mine"
    reference: ClassVar[Reference] = Reference("A paper", "A venue", "2411.07335")
    needs: ClassVar[Needs] = Needs(own_heads=True)
    neutral: ClassVar[tuple[Neutral, ...]] = (Neutral({"alpha": 0.0}, equals="joint"),)
    deviations: ClassVar[tuple[str, ...]] = ("none that we know of",)

    alpha: float = setting(0.5, "weight of the loss", origin=CODE, at_least=0, space=Space(0.1, 1))
    rate: Literal["slow", "fast"] = setting("slow", "how fast")

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Named terms."""
        scale = torch.tensor(RATES[self.rate])  # a comment
        found = {"fused": self.alpha * scale * F.cross_entropy(outputs.logits, batch.target)}
        if len(batch.index) < 2:
            raise ValueError("a batch of one")
        return found

    def margin(self, x, top=3):
        return x.topk(top).values - F.relu(x)
'''


def edited(*edits: tuple[str, str]) -> str:
    text = METHOD
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture(autouse=True)
def _no_bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


IMPORT_F = "from torch.nn import functional as F\n"
SAME_METHOD = {
    "another docstring of the module": [("An idea of ours.", "Of theirs.")],
    "no docstring of the class": [('    """Weighs the loss."""\n\n', "")],
    "no docstring of a hook": [('        """Named terms."""\n', "")],
    "a comment and blank lines": [
        ("  # a comment", ""),
        ("        return found", "\n        # why\n\n        return found"),
    ],
    "import as": [(IMPORT_F, "import torch.nn.functional as F\n")],
    "import under another name": [(IMPORT_F, "import torch.nn.functional as fn\n"), ("F.", "fn.")],
    "no alias": [(IMPORT_F, ""), ("F.", "torch.nn.functional.")],
    "by a package": [(IMPORT_F, "from torch import nn\n"), ("F.", "nn.functional.")],
    "single functions": [
        (IMPORT_F, "from torch.nn.functional import cross_entropy, relu\n"),
        ("F.cross_entropy", "cross_entropy"),
        ("F.relu", "relu"),
    ],
    "imported where it is used": [
        (IMPORT_F, ""),
        ("        scale =", "        from torch.nn import functional as F\n\n        scale ="),
        ("        return x.topk", "        import torch.nn.functional as F\n\n        return x.topk"),
    ],
    "another order of imports": [
        ("import torch\nfrom torch import Tensor\n" + IMPORT_F, IMPORT_F + "from torch import Tensor\nimport torch\n")
    ],
    "our own imports by module": [
        ("from mcr_bench.bench.settings import Space, setting\n", "from mcr_bench.bench import settings\n"),
        ("= setting(", "= settings.setting("),
        ("Space(", "settings.Space("),
    ],
    "an import for nothing": [
        ("import torch\n", "import math\nimport numpy as np\nimport torch\nfrom torch import nn\n")
    ],
    "annotations that are postponed": [
        ("\nfrom dataclasses", "\nfrom __future__ import annotations\n\nfrom dataclasses")
    ],
    "annotations as text": [("outputs: Outputs", 'outputs: "Outputs"'), ("alpha: float", 'alpha: "float"')],
    "no annotations of a hook": [
        ("(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]", "(self, outputs, batch)")
    ],
    "annotations of a helper": [("(self, x, top=3)", "(self, x: Tensor, top: int = 3) -> Tensor")],
    "annotated variables": [("        found =", "        found: dict[str, Tensor] =")],
    "an annotated constant": [("RATES =", "RATES: dict[str, float] =")],
    "a class variable that is plain": [("needs: ClassVar[Needs] =", "needs =")],
    "imports for type checkers": [
        ("from torch import Tensor\n", ""),
        ("PAPER =", "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from torch import Tensor\n\nPAPER ="),
        ("dict[str, Tensor]", '"dict[str, Tensor]"'),
    ],
    "a help text": [("weight of the loss", "what the loss is multiplied with")],
    "a help text by name": [('"how fast"', 'doc="how fast"')],
    "a default by name": [('setting("slow", "how fast")', 'setting(doc="how fast", default="slow")')],
    "an origin": [("origin=CODE, ", "")],
    "the text of an origin": [("'s code", ", table 2")],
    "the text behind the text of an origin": [('"the paper"', '"their paper"')],
    "an origin in its place": [("origin=CODE", 'origin="the paper\'s code"')],
    "where tuning looks": [("Space(0.1, 1)", "Space(1e-3, 10.0, log=True)")],
    "another reference": [("A venue", "Another venue")],
    "no reference": [('    reference: ClassVar[Reference] = Reference("A paper", "A venue", "2411.07335")\n', "")],
    "another deviation": [('("none that we know of",)', '("one that " f"is {PAPER}",) + ("two",)')],
    "what it equals": [('equals="joint"', 'equals="multi-loss", tolerance=1e-6')],
    "facts from constants": [
        ("PAPER =", 'TITLE = "A paper"\nLIST = ["one"]\nPAPER ='),
        ('Reference("A paper"', "Reference(TITLE"),
        ('("none that we know of",)', "(*LIST,)"),
    ],
    "what a script would do": [("\n\n@dataclass", "\nif __name__ == '__main__':\n    print(CODE)\n\n\n@dataclass")],
    "a text that nothing reads": [("PAPER =", '__author__ = "us"\nPAPER =')],
    "numbers written otherwise": [("0.9", "9e-1"), ("top=3", "top=0x3")],
    "a text in two pieces": [('"a batch of one"', '("a batch " "of one")')],
    "quotation marks and brackets": [('"slow"', "'slow'"), ("self.alpha * scale * F", "(self.alpha * scale) * F")],
    "pass": [("        scale =", "        pass\n        scale =")],
    "a text that is no statement": [("        scale =", '        "a remark"\n        scale =')],
}
OTHER_METHOD = {
    "a default": [("setting(0.5", "setting(0.4")],
    "a default's type": [("setting(0.5", "setting(1"), ("alpha: float", "alpha: int")],
    "a bound": [("at_least=0", "at_least=0.1")],
    "a setting's name": [("alpha: float", "beta: float"), ("self.alpha", "self.beta")],
    "a choice's default": [('setting("slow"', 'setting("fast"')],
    "a constant": [("0.9", "0.8")],
    "a key": [('"fast": 0.9', '"quick": 0.9')],
    "an operation": [("self.alpha * scale *", "self.alpha * scale +")],
    "a function": [("F.relu", "F.gelu")],
    "a function of another module": [("F.relu", "torch.special.relu")],
    "a name that a local one hides": [("def margin(self, x, top=3)", "def margin(self, x, top=3, F=torch)")],
    "the default of a helper": [("top=3", "top=2")],
    "a comparison": [("< 2", "<= 2")],
    "a negation": [("if len", "if not len")],
    "what it needs": [("own_heads=True", "own_heads=True, at_least=2")],
    "its name": [('"mine"', '"yours"')],
    "a hook's name": [("def margin", "def after_backward")],
    "a message": [("a batch of one", "a batch of 1")],
    "a base": [
        ("(Method)", "(Other)"),
        ("@dataclass\n", "@dataclass\nclass Other(Method):\n    name = 'o'\n\n@dataclass\n"),
    ],
    "a decorator": [("    def margin", "    @torch.no_grad()\n    def margin")],
    "a decorator's argument": [("@dataclass\n", "@dataclass(eq=False)\n")],
    "a statement of the module": [("\n\n@dataclass", "\ntorch.manual_seed(3)\n\n\n@dataclass")],
    "a fact that is computed": [('("none that we know of",)', "tuple(torch.tensor([1]).tolist())")],
    "a field that is a class variable": [("    alpha: float = setting", "    alpha: ClassVar[float] = setting")],
    "a number that nothing reads": [("PAPER =", "SEED = 3\nPAPER =")],
    "the order of settings": [
        ('    rate: Literal["slow", "fast"] = setting("slow", "how fast")\n', ""),
        ("    alpha: float", '    rate: Literal["slow", "fast"] = setting("slow", "how fast")\n    alpha: float'),
    ],
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> str:
    return digest(tmp_path_factory.mktemp("original"), METHOD)


@pytest.mark.parametrize("case", SAME_METHOD)
def test_a_method_written_otherwise_is_the_same(case: str, original: str, tmp_path: Path) -> None:
    assert digest(tmp_path, edited(*SAME_METHOD[case])) == original


@pytest.mark.parametrize("case", OTHER_METHOD)
def test_a_method_that_does_something_else_is_another(case: str, original: str, tmp_path: Path) -> None:
    assert digest(tmp_path, edited(*OTHER_METHOD[case])) != original


HEAD = "import torch\nimport torch.nn.functional as F\n"
CLASS = "\n\nclass Mine:\n    def act(self, x):\n        return act(x)\n"
# Each pair of texts stands between these two.
SAME = {
    "a function in a try": (
        "try:\n    import torch.nn.functional as f\nexcept ImportError:\n    f = None\n\ndef act(x): return f.relu(x)",
        "try:\n    from torch.nn import functional as f\nexcept ImportError:\n    f = None\n\ndef act(x): return f.relu(x)",
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
    "for type checkers or else": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas\nelse:\n    N = 1\ndef act(x): return x + N",
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
        "if torch.cuda.is_available():\n    from torch import erf as f\nelse:\n    from torch import exp as f\ndef act(x): return f(x)",
        "if torch.cuda.is_available():\n    from torch import exp as f\nelse:\n    from torch import erf as f\ndef act(x): return f(x)",
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
        "from functools import singledispatch\n@singledispatch\ndef act(x): return x\n@act.register\ndef _(x: int): return 1",
        "from functools import singledispatch\n@singledispatch\ndef act(x): return x\n@act.register\ndef _(x: str): return 1",
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
    "a field of keywords": (
        "from dataclasses import dataclass, KW_ONLY\n@dataclass\nclass Act:\n    _: KW_ONLY\n    x: int = 3\ndef act(x): return 1",
        "from dataclasses import dataclass, KW_ONLY\n@dataclass\nclass Act:\n    _: int = 1\n    x: int = 3\ndef act(x): return 1",
    ),
    "a class variable by another name": (
        "from dataclasses import dataclass\nfrom typing import ClassVar\nC = ClassVar\n@dataclass\nclass Act:\n    x: C[int] = 3\ndef act(x): return Act.x",
        "from dataclasses import dataclass\nfrom typing import ClassVar\nC = list\n@dataclass\nclass Act:\n    x: C[int] = 3\ndef act(x): return Act.x",
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
    "a fact that is read by a text": (
        "class Act:\n    title = 'a'\ndef act(x): return x * len(getattr(Act, 'title'))",
        "class Act:\n    title = 'ab'\ndef act(x): return x * len(getattr(Act, 'title'))",
    ),
    "a help text that is read": (
        "from dataclasses import dataclass, fields\nfrom mcr_bench.bench.settings import setting\n@dataclass\nclass Act:\n"
        "    a: int = setting(1, '2')\ndef act(x): return x * int(fields(Act)[0].metadata['doc'])",
        "from dataclasses import dataclass, fields\nfrom mcr_bench.bench.settings import setting\n@dataclass\nclass Act:\n"
        "    a: int = setting(1, '3')\ndef act(x): return x * int(fields(Act)[0].metadata['doc'])",
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
