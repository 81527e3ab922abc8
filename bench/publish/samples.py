"""Whether runs were tested on the same samples as one another, and on those of the data on this machine."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mcr_bench.bench.core.guard import attempt
from mcr_bench.bench.errors import one_line
from mcr_bench.bench.problem.absent import presence
from mcr_bench.bench.problem.floor import FLOOR, floor_metrics
from mcr_bench.bench.publish.here import Here, Samples
from mcr_bench.bench.publish.numbers import agree
from mcr_bench.bench.publish.predicted import Predicted, task_of
from mcr_bench.bench.publish.said import Said, State
from mcr_bench.bench.publish.told import Told, some
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.words import number_of

Labelled = dict[str, dict[str, tuple[object, ...]]]  # part -> id -> group and labels
WHO = "no run of the submission tells. Add a run with all modalities"


@dataclass
class _Kind:
    """Runs with the same samples.

    labelled: the samples.
    modalities: those of the first of the runs.
    names: the names of the runs.
    """

    labelled: Labelled
    modalities: frozenset[str]
    names: list[str]


class Across:
    """Runs on the same data, fold and seed must have the same samples; the samples that most of them have count.

    A run is not validated on samples that lack all of its modalities, as the predictions of other runs say. Where none
    of them says it, whether a run has all of its validation samples is not known. Runs must not contradict one another
    on who has a modality.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[object, ...], list[_Kind]] = {}
        self._told: dict[tuple[object, ...], Told] = {}

    def add(self, row: RunRow, parts: Mapping[str, Predicted]) -> None:
        """Note the samples of a run."""
        data = (row.data_identity, row.fold, row.seed)
        labelled = {name: _samples(part).by_id() for name, part in parts.items()}
        kinds = self._seen.setdefault(data, [])
        self._told.setdefault(data, Told()).add(row, parts)
        for kind in kinds:
            if kind.labelled == labelled:
                kind.names.append(row.name)
                return
        kinds.append(_Kind(labelled, frozenset(row.modalities), [row.name]))

    def checks(self) -> Iterator[Said]:
        """What the runs say of one another."""
        for data, kinds in self._seen.items():
            told = self._told[data]
            contradictions = list(told.contradictions())
            yield from contradictions
            wrong = {said.run for said in contradictions}
            most = max(kinds, key=lambda kind: len(kind.names))
            for kind in kinds:
                if kind is not most or len(kind.names) > 1:
                    state, text = _against(kind, most, told)
                    names = [name for name in kind.names if state != "holds" or name not in wrong]
                    yield from (Said(state, "samples", name, text) for name in names)


def _against(kind: _Kind, most: _Kind, told: Told) -> tuple[State, str]:
    """What is said of the samples of runs by those that most runs have."""
    (mine, open_mine), (theirs, open_theirs) = _beside(kind, most, told), _beside(most, kind, told)
    if mine != theirs:
        return "wrong", f"its samples are not those of {most.names[0]}: {difference(mine, theirs)}"
    if count := open_mine + open_theirs:
        pair = f"the {number_of(count, 'validation sample')} that only one of the two has"
        return (
            "unproven",
            f"that its samples are those of {most.names[0]}: whether the other run should have {pair}, {WHO}",
        )
    return "holds", "are those of the other runs on the same data"


def _beside(kind: _Kind, other: _Kind, told: Told) -> tuple[Labelled, int]:
    """The samples of a kind that `other` must have too, and of how many validation samples this is not known.

    A validation sample of a run has one of its modalities at least.
    """
    every = kind.modalities <= other.modalities
    known = {i: every or told.has_any(i, other.modalities) for i in kind.labelled["val"]}
    kept = {i: sample for i, sample in kind.labelled["val"].items() if known[i]}
    return kind.labelled | {"val": kept}, sum(has is None for has in known.values())


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
    yield from _absent(row, parts, here)
    if here.metric and here.metric != row.metric:
        text = f"its metric is {row.metric}, and that of protocol {row.protocol} is {here.metric}"
        yield Said("wrong", "settings", row.name, text)
    size, told = len(here.parts["train"].ids), row.samples.get("train")
    if told not in (None, size):
        text = f"data/train_samples is {told} on record, and the training part here has {size}"
        yield Said("wrong", "samples", row.name, text)
    yield from _floors(row, parts["test"], here)


def _absent(row: RunRow, parts: Mapping[str, Predicted], here: Here) -> Iterator[Said]:
    """Of which samples a run and the data here do not agree that they have a modality."""
    for name, part in parts.items():
        for m in row.modalities:
            mine, theirs = _having(part, m), _having(here.parts[name], m)
            if ids := {one for one in mine.keys() & theirs.keys() if mine[one] != theirs[one]}:
                text = f"the samples that have '{one_line(m, 60)}' are not those of the data here"
                yield Said("wrong", "samples", row.name, f"{text}: {some(ids, name)}, differ")


def _having(part: Samples | Predicted, modality: str) -> dict[str, bool]:
    """Id -> whether the sample has the modality."""
    has = presence(part.present, modality, len(part.ids))
    return dict(zip(part.ids, has.tolist(), strict=True))


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
                return f"{some(ids, part)}, {kind}"
    return "nothing differs"


def _samples(part: Predicted) -> Samples:
    return Samples(part.ids, part.groups, part.labels)


def _floors(row: RunRow, test: Predicted, here: Here) -> Iterator[Said]:
    """The scores of the constant for the training labels, which only the data tells."""
    task = task_of(row, test)
    made = attempt(lambda: floor_metrics(here.train_labels, test.labels, task), lambda _: {})
    recorded = {name: row.floors[name.removeprefix(FLOOR)] for name in made if name.removeprefix(FLOOR) in row.floors}
    wrong = [name for name, value in recorded.items() if not agree(made[name], value)]
    for name in wrong:
        text = f"{name} is {recorded[name]:.6g} on record and {made[name]:.6g} by the training labels here"
        yield Said("wrong", "numbers", row.name, text)
    if len(recorded) > len(wrong):
        yield Said("holds", "numbers", row.name, "follow from the data here", len(recorded) - len(wrong))
