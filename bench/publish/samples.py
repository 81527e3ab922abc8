"""Whether runs were tested on the same samples as one another, and on those of the data on this machine."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mcr_bench.bench.core.guard import attempt
from mcr_bench.bench.errors import one_line
from mcr_bench.bench.problem.floor import FLOOR, floor_metrics
from mcr_bench.bench.problem.overlaps import PARTS
from mcr_bench.bench.publish.here import Here, Samples
from mcr_bench.bench.publish.numbers import agree
from mcr_bench.bench.publish.predicted import Predicted, task_of
from mcr_bench.bench.publish.said import Said
from mcr_bench.bench.record.row import RunRow

Labelled = dict[str, dict[str, tuple[object, ...]]]  # part -> id -> group and labels
Lacked = dict[str, set[str]]  # id of a validation sample -> the modalities that it lacks


@dataclass
class _Kind:
    """Runs with the same samples.

    labelled: the samples.
    modalities: those of the first of the runs.
    names: the names of the runs.
    """

    labelled: Labelled
    modalities: tuple[str, ...]
    names: list[str]

    def beside(self, other: "_Kind", lacked: Lacked) -> Labelled:
        """Its samples without the validation samples of which `other` has no modality, and is not validated on."""
        kept = {i: s for i, s in self.labelled["val"].items() if not {*other.modalities} <= lacked.get(i, set())}
        return self.labelled | {"val": kept}


class Across:
    """Runs on the same data, fold and seed must have the same samples; the samples that most of them have count.

    A run is not validated on samples that lack all of its modalities, as the predictions of other runs say.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[object, ...], list[_Kind]] = {}
        self._lacked: dict[tuple[object, ...], Lacked] = {}

    def add(self, row: RunRow, parts: Mapping[str, Predicted]) -> None:
        """Note the samples of a run."""
        data = (row.data_identity, row.fold, row.seed)
        labelled = {name: _samples(part).by_id() for name, part in parts.items()}
        lacked, kinds = self._lacked.setdefault(data, {}), self._seen.setdefault(data, [])
        for m, has in parts["val"].present.items():
            for at in (~has).nonzero().flatten().tolist():
                lacked.setdefault(parts["val"].ids[at], set()).add(m)
        for kind in kinds:
            if kind.labelled == labelled:
                kind.names.append(row.name)
                return
        kinds.append(_Kind(labelled, row.modalities, [row.name]))

    def checks(self) -> Iterator[Said]:
        """What the runs say of one another."""
        for data, kinds in self._seen.items():
            most = max(kinds, key=lambda kind: len(kind.names))
            for kind in kinds:
                mine, theirs = (one.beside(other, self._lacked[data]) for one, other in ((kind, most), (most, kind)))
                if mine == theirs and (kind is not most or len(kind.names) > 1):
                    for name in kind.names:
                        yield Said("holds", "samples", name, "are those of the other runs on the same data")
                for name in kind.names if mine != theirs else ():
                    text = f"its samples are not those of {most.names[0]}: {difference(mine, theirs)}"
                    yield Said("wrong", "samples", name, text)


def beside(row: RunRow, parts: Mapping[str, Predicted], here: Here | str) -> Iterator[Said]:
    """What the data on this machine says of the samples, of the metric and of the constant predictor of a run."""
    if isinstance(here, str):
        reason = f"that ids and labels are those of its data, which is not available here: {here}"
        yield Said("unproven", "samples", row.name, reason)
        return
    grouped = all(here.parts[name].groups for name in parts)
    mine = {name: _samples(part).by_id(grouped) for name, part in parts.items()}
    theirs = {name: here.parts[name].by_id(grouped) for name in parts}
    if mine == theirs:
        yield Said("holds", "samples", row.name, "are those of the data here", sum(map(len, mine.values())))
    else:
        text = f"its samples are not those of the data here: {difference(mine, theirs)}"
        yield Said("wrong", "samples", row.name, text)
    if here.metric and here.metric != row.metric:
        text = f"its metric is {row.metric}, and that of protocol {row.protocol} is {here.metric}"
        yield Said("wrong", "settings", row.name, text)
    size, told = len(here.parts["train"].ids), row.samples.get("train")
    if told not in (None, size):
        text = f"data/train_samples is {told} on record, and the training part here has {size}"
        yield Said("wrong", "samples", row.name, text)
    yield from _floors(row, parts["test"], here)


def difference(mine: Labelled, theirs: Labelled) -> str:
    """In which part the first difference is, how many samples differ, and the id of one of them."""
    for part, one in mine.items():
        other = theirs[part]
        for kind, ids in {
            "are not in it": one.keys() - other.keys(),
            "are missing": other.keys() - one.keys(),
            "have another label or group": {i for i in one.keys() & other.keys() if one[i] != other[i]},
        }.items():
            if ids:
                return f"{len(ids)} of the {PARTS[part]} part {kind}, such as '{one_line(min(ids), 60)}'"
    return "nothing differs"


def _samples(part: Predicted) -> Samples:
    return Samples(part.ids, part.groups, part.labels)


def _floors(row: RunRow, test: Predicted, here: Here) -> Iterator[Said]:
    """The scores of the constant for the training labels, which only the data tells."""
    task = task_of(row, test)
    made = attempt(lambda: floor_metrics(here.parts["train"].labels, test.labels, task), lambda _: {})
    recorded = {name: row.floors[name.removeprefix(FLOOR)] for name in made if name.removeprefix(FLOOR) in row.floors}
    wrong = [name for name, value in recorded.items() if not agree(made[name], value)]
    for name in wrong:
        text = f"{name} is {recorded[name]:.6g} on record and {made[name]:.6g} by the training labels here"
        yield Said("wrong", "numbers", row.name, text)
    if len(recorded) > len(wrong):
        yield Said("holds", "numbers", row.name, "follow from the data here", len(recorded) - len(wrong))
