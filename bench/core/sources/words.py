"""Leaves out of a syntax tree what only tells people something: annotations, help texts, declared facts."""

import ast
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from mcr_bench.bench.core.sources.aliases import Names
from mcr_bench.bench.core.sources.traits import Traits
from mcr_bench.bench.core.sources.trees import Function, nodes, unquoted

FACTS = {  # for cards, selections and tests
    *("card", "defects", "delays", "deviations", "group", "neutral", "official_code", "predicts_otherwise"),
    *("published", "reference", "selections", "summary", "title", "waits", "without_neutral"),
}
FACTORIES = ("mcr_bench.methods.base.", "mcr_bench.datasets.base.", "mcr_bench.bench.settings.", "typing.")
SETTING = "mcr_bench.bench.settings."
PARAMETERS = ("default", "doc", "origin", "space", "acts_with")  # of `setting`: all but the first are for people
MARKERS = {"ClassVar", "InitVar", "KW_ONLY"}  # what an annotation says to `dataclass`
# Decorators and bases from elsewhere that look at no annotation. What the user's own look at is seen in their code.
DECORATORS = {
    *("builtins.staticmethod", "builtins.classmethod", "builtins.property", "abc.abstractmethod"),
    *("functools.cache", "functools.lru_cache", "functools.cached_property", "functools.wraps"),
    *("contextlib.contextmanager", "typing.override", "typing.final", "typing.overload", "typing.runtime_checkable"),
    *("dataclasses.dataclass", "torch.no_grad", "torch.inference_mode", "torch.enable_grad", "torch.compile"),
}
BASES = ("mcr_bench", "torch", "abc", "typing", "enum", "builtins", "collections")


@dataclass
class Scope:
    """A class, a function or the module.

    kind: which of these it is.
    keeps: whether annotations count in it.
    fields: whether it is a class of which annotations make fields.
    """

    kind: type[ast.AST]
    keeps: bool
    fields: bool = False


class Wordless(ast.NodeTransformer):
    """Leaves the words out of one module; `dropped` collects the names that they mention.

    modules: those of the user, of which all is known.
    """

    def __init__(self, names: Names, traits: Traits, modules: Collection[str]) -> None:
        self._names, self._traits, self._modules = names, traits, modules
        self._scopes = [Scope(ast.Module, traits.annotations)]
        self.dropped: set[str] = set()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        keeps = not is_plain(node, self._names, self._modules)
        return self._inside(node, keeps, self._traits.wraps or has_fields(node, self._names))

    def _function(self, node: Function) -> ast.AST:
        keeps = not all(_is_plain_decorator(one, self._names, self._modules) for one in node.decorator_list)
        if not keeps and not self._scopes[-1].keeps:
            self._drop(node.returns)
            node.returns = None
        return self._inside(node, keeps)

    def _inside(self, node: ast.AST, keeps: bool, fields: bool = False) -> ast.AST:
        self._scopes.append(Scope(type(node), keeps or self._scopes[-1].keeps, fields))
        self.generic_visit(node)
        self._scopes.pop()
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        if not self._scopes[-1].keeps:
            self._drop(node.annotation)
            node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        scope = self._scopes[-1]
        if scope.keeps:
            return self.generic_visit(node)
        self._drop(node.annotation)
        if scope.fields and not _is_class_variable(node.annotation, self._names):
            return self.generic_visit(ast.AnnAssign(node.target, self._marks(node), node.value, node.simple))
        if node.value is not None:
            return self.visit(ast.Assign([node.target], node.value))  # type: ignore[no-any-return]
        is_local = isinstance(node.target, ast.Name) and scope.kind is not ast.Module and scope.kind is not ast.ClassDef
        return ast.AnnAssign(node.target, ast.Name("local", ast.Load()), None, 1) if is_local else None

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        if self._scopes[-1].kind is ast.ClassDef and self._is_fact(node):
            self._drop(node.value)
            return None
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if self._traits.metadata or not _is_setting(node, self._names):
            return self.generic_visit(node)
        given = dict(zip(PARAMETERS, node.args, strict=False)) | {str(k.arg): k.value for k in node.keywords}
        telling = {name for name in PARAMETERS[1:] if name in given and is_words(given[name], self._names)}
        for name in telling:
            self._drop(given[name])
        rest = [ast.keyword(name, given[name]) for name in sorted(given.keys() - telling)]
        return self.generic_visit(ast.Call(node.func, [], rest))

    def _is_fact(self, node: ast.Assign) -> bool:
        (target, *others) = node.targets
        if self._traits.by_text or others or not isinstance(target, ast.Name):
            return False
        return target.id in FACTS - self._traits.attributes and is_words(node.value, self._names)

    def _drop(self, node: ast.expr | None) -> None:
        for inner in nodes(unquoted(node)) if node is not None else ():
            if isinstance(inner, ast.Name | ast.Attribute):
                self.dropped.add(self._names.meaning(inner).rpartition(".")[2])
            if isinstance(inner, ast.Name):
                self.dropped.add(inner.id)

    def _marks(self, node: ast.AnnAssign) -> ast.expr:
        """What of a field's annotation may matter: that it is one, what `dataclass` reads, and the user's own types."""
        return ast.Tuple(list(self._own_types(unquoted(node.annotation))), ast.Load())

    def _own_types(self, annotation: ast.expr) -> Iterator[ast.expr]:
        for node in nodes(annotation):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from [node] if node.value in self._names.bound or not node.value.isidentifier() else []
            elif isinstance(node, ast.Name) and node.id in self._names.bound:
                yield node
            elif isinstance(node, ast.Name | ast.Attribute):
                path = self._names.meaning(node)
                if path.rpartition(".")[2] in MARKERS or _is_of(path, self._modules):
                    yield node


def is_plain(node: ast.ClassDef, names: Names, modules: Collection[str]) -> bool:
    """Whether neither the class's bases nor its decorators look at annotations."""
    decorators = all(_is_plain_decorator(one, names, modules) for one in node.decorator_list)
    return decorators and all(_is_plain_base(one, names, modules) for one in [*node.bases, *_values(node.keywords)])


def has_fields(node: ast.ClassDef, names: Names) -> bool:
    """Whether a decorator or a base such as NamedTuple may make fields of what is annotated in the class."""
    bases = [names.meaning(base.value if isinstance(base, ast.Subscript) else base) for base in node.bases]
    return bool(node.decorator_list) or any(path.startswith("typing") or path == "" for path in bases)


def _values(keywords: Sequence[ast.keyword]) -> list[ast.expr]:
    return [keyword.value for keyword in keywords if not isinstance(keyword.value, ast.Constant)]


def _is_plain_base(node: ast.expr, names: Names, modules: Collection[str]) -> bool:
    inner = node.value if isinstance(node, ast.Subscript) else node
    path = names.meaning(inner)
    if not path:
        return isinstance(inner, ast.Name)
    return path.partition(".")[0] in BASES or _is_of(path, modules)


def _is_plain_decorator(node: ast.expr, names: Names, modules: Collection[str]) -> bool:
    inner = node.func if isinstance(node, ast.Call) else node
    path = names.meaning(inner)
    return not path or path in DECORATORS or _is_of(path, modules)


def _is_of(path: str, modules: Collection[str]) -> bool:
    return any(path.startswith(f"{module}.") for module in modules)


def _is_class_variable(annotation: ast.expr, names: Names) -> bool:
    inner = unquoted(annotation)
    return names.meaning(inner.value if isinstance(inner, ast.Subscript) else inner) == "typing.ClassVar"


def _is_setting(node: ast.Call, names: Names) -> bool:
    path = names.meaning(node.func)
    spread = any(isinstance(one, ast.Starred) for one in node.args) or any(one.arg is None for one in node.keywords)
    return path.startswith(SETTING) and path.endswith(".setting") and not spread


def is_words(node: ast.expr, names: Names) -> bool:
    """Whether an expression only puts constants together: nothing happens where it stands."""
    plain = (
        *(ast.Constant, ast.JoinedStr, ast.FormattedValue, ast.Tuple, ast.List, ast.Dict, ast.Set, ast.Starred),
        *(ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.BinOp, ast.UnaryOp, ast.keyword),
        *(ast.operator, ast.unaryop, ast.expr_context),
    )
    return all(isinstance(part, plain) or _is_record(part, names) for part in nodes(node))


def _is_record(node: ast.AST, names: Names) -> bool:
    return isinstance(node, ast.Call) and names.meaning(node.func).startswith(FACTORIES)
