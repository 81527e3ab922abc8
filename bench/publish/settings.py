"""Whether the settings and the code that runs name are those under which their keys were made."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.core.behaviour import behaviour_digest
from mcr_bench.bench.errors import UserError, one_line
from mcr_bench.bench.publish.rebuilt import Acting, Unprovable, rebuilt
from mcr_bench.bench.publish.said import Said
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.runs.spec import RunSpec


class Keys:
    """Makes the keys of the runs of an archive again, each once, those that a run starts from first.

    rows: key -> run. acting: gives, for a run, its dataset's word on which settings act; None where the data is not
    here.
    """

    def __init__(self, rows: Mapping[str, RunRow], acting: Callable[[RunRow], Acting | None]) -> None:
        self._rows, self._acting = rows, acting
        self._made: dict[str, RunSpec | Said] = {}
        self._begun: set[str] = set()

    def check(self, row: RunRow) -> Said:
        """Whether the settings of a run give its key."""
        made = self._of(row)
        if not isinstance(made, RunSpec):
            return made
        for name, value in _told_by(made).items():
            if (told := getattr(row, name)) != value:
                text = f"its tag '{name}' is '{one_line(str(told), 60)}', and by its method and settings {value}"
                return Said("wrong", "settings", row.name, text)
        return Said("holds", "settings", row.name, "give the keys on record")

    def _of(self, row: RunRow) -> RunSpec | Said:
        if row.key not in self._made:
            self._begun.add(row.key)
            self._made[row.key] = self._make(row)
        return self._made[row.key]

    def _make(self, row: RunRow) -> RunSpec | Said:
        try:
            spec = rebuilt(row, [self._needed(key) for key in row.dependencies], self._acting(row))
        except Unprovable as reason:
            return Said("unproven", "settings", row.name, f"that its settings are those of its key: {reason}")
        except UserError as error:
            return Said("wrong", "settings", row.name, f"its settings are not allowed: {error}")
        if spec.key == row.key:
            return spec
        text = f"settings, data, code or seed on record are not those of its key: they give {spec.key}"
        return Said("wrong", "settings", row.name, text)

    def _needed(self, key: str) -> RunSpec:
        row = self._rows.get(key)
        if row is None or (key in self._begun and key not in self._made):
            raise Unprovable(f"it starts from the run {key}, which is missing in the archive")
        made = self._of(row)
        if isinstance(made, Said):
            raise Unprovable(f"it starts from {row.name}, of which that is not known")
        return made


def _told_by(spec: RunSpec) -> dict[str, object]:
    """What tables go by that is not in the key, as method and settings give it: tag -> its value."""
    cls = registry.method(spec.method)
    of_method = {"role": cls.role, "scales_gradients": cls.scales_gradients}
    named = replace(spec, role=cls.role)
    return of_method | {"label": named.label, "config": spec.config, "data_identity": spec.data_identity}


def code_check(row: RunRow) -> Said:
    """Whether the method's code is that of the method of this name here."""
    if row.method not in registry.method_names():
        return Said("unproven", "code", row.name, f"what its code does: no method here has the name {row.method}")
    if behaviour_digest(registry.method(row.method)) == row.method_digest:
        return Said("holds", "code", row.name, "is that of the methods here")
    return Said("unproven", "code", row.name, f"what its code does: it is not that of {row.method} here")
