"""The classes that a request names, looked up once: everything that plans it takes them from here."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.errors import UserError, unknown

if TYPE_CHECKING:
    from mcr_bench.datasets.base import Dataset
    from mcr_bench.methods.base import Method


@dataclass
class Classes:
    """What a request names, as classes.

    methods: (source, class) of every requested method, each once, in the order given.
    unknown_methods: of an optional request the names that are not registered.
    datasets: name -> class.
    unknown_datasets: of an optional request name -> why there is no such dataset.
    owners: every method whose name may begin a dotted setting.
    left_out: where a selection is requested, a line for each registered method that cannot be imported.
    """

    methods: "list[tuple[str, type[Method]]]"
    unknown_methods: tuple[str, ...]
    datasets: "dict[str, type[Dataset]]"
    unknown_datasets: dict[str, str]
    owners: frozenset[str]
    left_out: tuple[str, ...] = ()
    _others: "dict[str, type[Method]]" = field(default_factory=dict)

    def method(self, name: str) -> "type[Method]":
        """The class of a method that another one depends on."""
        named = {cls.name: cls for _, cls in self.methods} | self._others
        if name not in named:
            named[name] = self._others[name] = registry.method(name)
        return named[name]


def classes_of(methods: Sequence[str], datasets: Sequence[str], optional: bool) -> Classes:
    """The classes of these names; UserError for an unknown one unless what is not offered here is `optional`."""
    unknown = tuple(n for n in methods if optional and not _selected(n) and not registry.is_own(n))
    named = _methods([name for name in methods if name not in unknown])
    sets: dict[str, type[Dataset]] = {}
    reasons: dict[str, str] = {}
    for name in datasets:
        try:
            sets[name] = registry.dataset(name)
        except UserError as error:
            if not optional:
                raise
            reasons[name] = f"not offered here: {_reason(name, error)}"
    selects = any(n not in registry.method_names() and not registry.is_own(n) for n in methods)
    left_out = registry.methods().left_out if selects else ()
    return Classes(named, unknown, sets, reasons, frozenset(registry.setting_owners()), left_out)


def _reason(name: str, error: UserError) -> str:
    return str(error) if "." in name else f"no dataset '{name}' is registered"


def _selected(name: str) -> list[str]:
    """The registered methods that a name stands for: itself, or those of a selection; none where it is neither."""
    if name in registry.method_names():
        return [name]
    return [] if registry.is_own(name) else registry.selections().get(name, [])


def _methods(names: Sequence[str]) -> "list[tuple[str, type[Method]]]":
    """(source, class) of every requested method, each once, in the order given."""
    selected = {name: _selected(name) for name in names}
    for name, members in selected.items():
        if not members and not registry.is_own(name):
            raise unknown("method", name, [*registry.method_names(), *registry.selections()])
    expanded = [n for name, members in selected.items() for n in members or [name]]
    classes = {name: registry.method(name) for name in expanded}
    called = [cls.name for cls in classes.values()]
    for name in called:
        if called.count(name) > 1:
            sources = ", ".join(source for source, cls in classes.items() if cls.name == name)
            raise UserError(f"--methods: {sources} are all called '{name}'. Give each class a `name` of its own.")
    return list(classes.items())
