"""The digest of a method: edits of its file that leave what it computes, and edits that may not."""

import sys
from pathlib import Path

import pytest

from mcr_bench.tests.support.runs.behaving import digest

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
        terms = {"fused": self.alpha * scale * F.cross_entropy(outputs.logits, batch.target)}
        if len(batch.index) < 2:
            raise ValueError("a batch of one")
        return terms

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
        ("        return terms", "\n        # why\n\n        return terms"),
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
    "annotated variables": [("        terms =", "        terms: dict[str, Tensor] =")],
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
    "with what it acts": [("space=Space(0.1, 1)", 'space=Space(0.1, 1), acts_with=("pace", ("slow",))')],
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


def test_the_digest_is_one_on_every_machine_and_python(original: str) -> None:
    """Another value here means that every run on every record is trained again."""
    assert original == "bf91b448b28f4a12"
