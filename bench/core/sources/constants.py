"""Constants that nothing uses once the words are left out: those that only words mentioned, and unused texts."""

import ast
from collections.abc import Collection, Mapping

from mcr_bench.bench.core.sources.aliases import Names
from mcr_bench.bench.core.sources.trees import attributes, import_paths, loaded, looked_up, nodes
from mcr_bench.bench.core.sources.words import is_words


def drop_constants(names: Mapping[str, Names], dropped: Collection[str]) -> None:
    """Leave them out of the modules. dropped: the names that words mentioned."""
    for_words = {*dropped}
    while gone := _unneeded(names, for_words):
        for one, node in gone:
            one.tree.body.remove(node)
            for_words |= loaded(node)


def _unneeded(names: Mapping[str, Names], for_words: Collection[str]) -> list[tuple[Names, ast.Assign]]:
    used = set[str]().union(*map(_mentioned, names.values()))
    constants = [(one, node) for one in names.values() for node in one.tree.body if isinstance(node, ast.Assign)]
    return [(one, node) for one, node in constants if _is_unneeded(node, one, used, for_words)]


def _mentioned(names: Names) -> set[str]:
    """What a module reads, under the name that it has where it is defined."""
    read = loaded(names.tree)
    pairs = [pair for node in nodes(names.tree) for pair in import_paths(node, names.source.package)]
    imported = {path.rpartition(".")[2] for local, path in pairs if local in read}
    return read | imported | attributes(names.tree) | looked_up(names.tree)


def _is_unneeded(node: ast.Assign, names: Names, used: Collection[str], for_words: Collection[str]) -> bool:
    (target, *others) = node.targets
    if others or not isinstance(target, ast.Name) or target.id in used or not is_words(node.value, names):
        return False
    values = [part.value for part in nodes(node.value) if isinstance(part, ast.Constant)]
    return target.id in for_words or all(isinstance(value, str) for value in values)
