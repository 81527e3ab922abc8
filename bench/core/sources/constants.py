"""Constants that only words have used, and that nothing uses once the words are left out."""

import ast
from collections.abc import Mapping

from mcr_bench.bench.core.sources.aliases import Names
from mcr_bench.bench.core.sources.trees import attributes, import_paths, loaded, texts
from mcr_bench.bench.core.sources.words import is_words


def drop_constants(names: Mapping[str, Names], dropped: set[str]) -> None:
    """Leave them out of the modules. dropped: the names that words mentioned."""
    while gone := _unneeded(names, dropped):
        for one, node in gone:
            one.tree.body.remove(node)
            dropped |= loaded(node)


def _unneeded(names: Mapping[str, Names], dropped: set[str]) -> list[tuple[Names, ast.stmt]]:
    unused = dropped - set().union(*map(_mentioned, names.values()))
    return [(one, node) for one in names.values() for node in one.tree.body if _is_constant(node, unused, one)]


def _mentioned(names: Names) -> set[str]:
    """What a module reads, under the name that it has where it is defined."""
    read = loaded(names.tree)
    pairs = [pair for node in ast.walk(names.tree) for pair in import_paths(node, names.source.package)]
    imported = {path.rpartition(".")[2] for local, path in pairs if local in read}
    return read | imported | attributes(names.tree) | texts(names.tree)


def _is_constant(node: ast.stmt, unused: set[str], names: Names) -> bool:
    if not isinstance(node, ast.Assign) or len(node.targets) != 1:
        return False
    (target,) = node.targets
    return isinstance(target, ast.Name) and target.id in unused and is_words(node.value, names)
