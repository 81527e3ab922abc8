"""Digest of what a class computes: another style of writing the same is the same, in doubt it is another."""

import ast
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from mcr_bench.bench.core.sources.aliases import FUTURE, MARK, Names, Plain, names_of, own_imports, unused_imports
from mcr_bench.bench.core.sources.closure import Source, sources_of
from mcr_bench.bench.core.sources.constants import drop_constants
from mcr_bench.bench.core.sources.form import form
from mcr_bench.bench.core.sources.kept import keep, kept_digest
from mcr_bench.bench.core.sources.traits import Traits, traits_of
from mcr_bench.bench.core.sources.trees import KEPT, copied, loaded, nodes
from mcr_bench.bench.core.sources.words import Wordless, is_plain

_digests: dict[type, str] = {}


def behaviour_digest(cls: type) -> str:
    """16 hex digits over the module of the class and every module of the user's and shared term that it reaches.

    Comments, docstrings, annotations, the style and order of imports, the names that they give, help texts of settings
    and declared facts do not count. Everything else does, and so do these where code reads them, or may. UserError
    where the source of the class cannot be read.
    """
    if cls not in _digests:
        _digests[cls] = kept_digest(cls) or _digest_of(cls)
    return _digests[cls]


def keep_digests(home: Path) -> None:
    """Keep the digests of this package's methods that were made so far, for commands to come. home: of the record."""
    keep(_digests, home)


def _digest_of(cls: type) -> str:
    sources = sources_of(cls)
    code = _code(sources)
    other = {name: hashlib.sha256(one.content).hexdigest() for name, one in sources.items() if one.tree is None}
    text = json.dumps([cls.__qualname__, code, other], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _code(sources: Mapping[str, Source]) -> dict[str, list[object]]:
    """Module -> what of it counts, for those that are Python."""
    trees = {name: one.tree for name, one in sources.items() if one.tree is not None}
    modules, traits = {one.name for one in sources.values()}, traits_of(trees)
    known = {name: names_of(sources[name], tree, modules, traits.rebound) for name, tree in trees.items()}
    classes = [(node, one) for one in known.values() for node in _classes(one.tree)]
    if not all(is_plain(node, one, modules) for node, one in classes):  # then those below it are none either
        traits = replace(traits, annotations=True)
    about = {name: _about(one, modules, traits) for name, one in known.items()}
    plain = _plain(_wordless(known, traits, modules), traits)
    return {name: [form(tree, traits.documentation), *about[name]] for name, tree in plain.items()}


@lru_cache(KEPT)
def _classes(tree: ast.Module) -> list[ast.ClassDef]:
    return [node for node in nodes(tree) if isinstance(node, ast.ClassDef)]


def _about(names: Names, modules: Collection[str], traits: Traits) -> list[object]:
    """What of the module as it stands counts beside its tree."""
    text = names.source.content.decode(errors="replace") if traits.source else ""
    future = traits.annotations and any(path.startswith(FUTURE) for path in names.paths)
    return [unused_imports(names, modules), own_imports(names, modules), future, text]


def _wordless(known: Mapping[str, Names], traits: Traits, modules: Collection[str]) -> dict[str, Names]:
    """The modules without words; their names are collected again, as words may have bound or read some."""
    wordless, dropped = dict[str, Names](), set[str]()
    for name, one in known.items():
        without = Wordless(one, traits, modules)
        tree = ast.Module(without.visit(copied(one.tree)).body, [])
        dropped |= without.dropped
        wordless[name] = names_of(one.source, tree, modules, traits.rebound)
    if not traits.by_text:
        drop_constants(wordless, dropped)
    return wordless


def _plain(known: Mapping[str, Names], traits: Traits) -> dict[str, ast.Module]:
    """The trees without local names of imports, unless these may be looked up."""
    hidden = {one.source.name: dict[str, str]() if traits.by_text else one.table for one in known.values()}
    trees = {name: Plain(one, hidden).visit(copied(one.tree)) for name, one in known.items()}
    paths = {MARK + module for module in hidden}
    if any(paths & loaded(tree) for tree in trees.values()):  # a module of ours is handed on: so are its names
        return _plain(known, replace(traits, by_text=True))
    return trees
