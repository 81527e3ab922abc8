"""Leaves out of a syntax tree what only tells people something: annotations, help texts, declared facts."""

import ast
from collections.abc import Collection, Iterable, Sequence

from mcr_bench.bench.core.sources.aliases import Names
from mcr_bench.bench.core.sources.traits import Traits
from mcr_bench.bench.core.sources.trees import unquoted

FACTS = {"card", "deviations", "neutral", "reference", "summary", "title"}  # of a class; cards and tests read them
HARNESS = ("mcr_bench.methods.base.", "mcr_bench.datasets.base.", "mcr_bench.bench.")
SETTING = "mcr_bench.bench.settings."
HELP = ("default", "doc", "origin", "space")  # the parameters of `setting` that say nothing to a run, but the first
WORDS = {"Reference", "Neutral", "Card", "Space"}
MARKERS = {"ClassVar", "InitVar", "KW_ONLY"}  # what an annotation of a class says to `dataclass`
# Decorators and bases from elsewhere that do not look at annotations. Of those in the user's own code all is known.
PLAIN_DECORATORS = {
    *("builtins.staticmethod", "builtins.classmethod", "builtins.property", "abc.abstractmethod"),
    *("functools.cache", "functools.lru_cache", "functools.cached_property", "functools.wraps"),
    *("contextlib.contextmanager", "typing.override", "typing.final", "typing.overload", "typing.runtime_checkable"),
    *("dataclasses.dataclass", "torch.no_grad", "torch.inference_mode", "torch.enable_grad", "torch.compile"),
}
PLAIN_BASES = ("mcr_bench.", "torch.", "abc.", "typing.", "enum.", "builtins.", "collections.", "dataclasses.")


class Wordless(ast.NodeTransformer):
    """Leaves words out of one module. `dropped` names what they mentioned.

    ours: every name that the user's code defines at the top of a module.
    """

    def __init__(self, names: Names, traits: Traits, ours: Collection[str]) -> None:
        self._names, self._traits, self._ours = names, traits, ours
        self._keeps: list[bool] = [traits.annotations]  # of the functions and classes around, innermost last
        self._in_class = [False]
        self.dropped: set[str] = set()
