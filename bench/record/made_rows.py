"""Makes `RunRow`s of the store's runs: the one place that reads MLflow's tags, params and metrics of a run.

Everything in MLflow's page can be edited. A run whose tags or metrics cannot be what this program wrote is
unreadable: it is left out with a note, and the others are read.

Tags that the first version of a record did not have yet, and what stands for them: dataset_source, source ("": the
names of dataset and method), presets and missing (none), commit, device, device/name, platform and version/NAME (""
and none), precision (the setting), deterministic (false), complete_from (1), moment (the time of the start).
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from mcr_bench.bench.errors import one_line
from mcr_bench.bench.record.row import OURS, Costs, RunRow
from mcr_bench.bench.record.runs import StoredRun, by_key, moment_of
from mcr_bench.bench.record.tags import LONGEST, Bad, Metrics, Tags
from mcr_bench.bench.settings.declaration import Value

FLOOR, UNIMODAL, VERSION = "floor/", "test/modality/", "version/"
SAMPLES = {part: f"data/{part}_samples" for part in ("train", "val", "test")}
COSTS = tuple(Costs.__dataclass_fields__)
WHOLE = re.compile(r"-?[0-9]{1,1000}")
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[-+][0-9]+)?")


@dataclass(frozen=True)
class Unreadable:
    """A run of the record that is left out, and why.

    run_id: its name in MLflow.
    dataset: the dataset that its tags name, "" for none.
    method: its label or method, as its tags name it, "" for none.
    reason: the tag or metric, its value, and what to do.
    """

    run_id: str
    dataset: str
    method: str
    reason: str

    @property
    def note(self) -> str:
        """In one line."""
        what = " on ".join(text for text in (self.method, self.dataset) if text)
        return f"left out: {what or 'a run'}: {self.text}"

    @property
    def text(self) -> str:
        """The run's name and the reason."""
        return f"run {self.run_id}: {self.reason}"


@dataclass(frozen=True)
class Reading:
    """Makes rows and remembers what it had to leave out.

    note: takes the note on each unreadable run, once.
    unreadable: run -> why it has no row.
    names: run -> how notes call it.
    """

    note: Callable[[str], object]
    unreadable: dict[str, Unreadable] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def rows(self, stored: Iterable[StoredRun]) -> list[RunRow]:
        """The rows of these runs, one per key."""
        rows, unreadable = rows_of(stored)
        for one in unreadable:
            if one.run_id not in self.unreadable:
                self.note(one.note)
            self.unreadable[one.run_id] = one
        self.names.update({row.run_id: row.name for row in rows})
        return rows


def rows_of(stored: Iterable[StoredRun]) -> tuple[list[RunRow], list[Unreadable]]:
    """One row per key, of its newest finished run, or of its newest where none is finished; and what is left out.

    An unreadable run gives way to the next one of its key that ended as it did.
    """
    rows, unreadable = [], []
    for candidates in by_key(stored):
        for run in candidates:
            made = row_or_why(run)
            if isinstance(made, RunRow):
                rows.append(made)
                break
            unreadable.append(made)
    return rows, unreadable


def row_or_why(run: StoredRun) -> RunRow | Unreadable:
    """The row of a run, or why it has none."""
    try:
        return row_of(run)
    except Bad as error:
        tags = run.tags
        name = (tags.get("label") or "").strip() or tags.get("method") or ""
        dataset = tags.get("dataset") or ""
        return Unreadable(run.run_id, one_line(dataset, LONGEST), one_line(name, LONGEST), str(error))


def row_of(run: StoredRun) -> RunRow:
    """The row of a run; `Bad` where a tag, a metric, its state or a time cannot be what this program wrote."""
    if run.spoilt:
        raise Bad(run.spoilt)
    tags, metrics = Tags(run.tags), Metrics(run.metrics)
    numbers, metric, missing = metrics.numbers(), tags.text("metric"), tags.missing()
    metrics.require_result(metric, missing)
    versions = {OURS: tags.optional("version")} | tags.below(VERSION)
    return RunRow(
        key=tags.text("key"),
        run_id=run.run_id,
        status=run.status.lower(),
        method=tags.text("method"),
        label=tags.text("label"),
        role=tags.role(),
        source=tags.optional("source"),
        method_digest=tags.optional("method_digest"),
        scales_gradients=tags.flag("scales_gradients"),
        complete_from=tags.whole("complete_from", missing=1),
        primary=tags.flag("primary", missing=True),
        dataset=tags.text("dataset"),
        dataset_source=tags.optional("dataset_source"),
        fingerprint=tags.optional("fingerprint"),
        data_identity=tags.text("data_identity"),
        modalities=tags.names("modalities"),
        protocol=tags.text("protocol"),
        protocol_card=tags.optional("protocol_card"),
        fold=tags.whole("fold"),
        seed=tags.whole("seed"),
        preset=tags.text("preset"),
        preset_origin=tags.optional("preset_origin"),
        overrides=tags.optional("overrides"),
        other_presets=tags.presets(),
        config=tags.text("config"),
        settings={name: value_of(text) for name, text in run.params.items()},
        dependencies=tuple(filter(None, tags.optional("dependencies").split(","))),
        metric=metric,
        value=numbers.get(f"test/{metric}"),
        unimodal={name.rpartition("/")[0]: value for name, value in metrics.below(UNIMODAL).items()},
        metrics=numbers,
        floors=metrics.below(FLOOR),
        samples={part: count for part, name in SAMPLES.items() if (count := metrics.count(name)) is not None},
        epochs=metrics.count("epochs"),
        best_epoch=metrics.count("best_epoch"),
        costs=Costs(**{name: metrics.measured(f"cost/{name}") for name in COSTS}),
        missing=missing,
        failure=tags.optional("failure"),
        versions={name: text for name, text in versions.items() if text},
        commit=tags.optional("commit"),
        device=tags.optional("device"),
        device_name=tags.optional("device/name"),
        precision=tags.optional("precision") or run.params.get("precision", ""),
        deterministic=tags.flag("deterministic"),
        platform=tags.optional("platform"),
        started=run.started / 1000,
        moment=moment_of(run.tags) / 1000,
        ended=None if run.ended is None else run.ended / 1000,
        artifacts=run.artifacts,
    )


@lru_cache(maxsize=4096)
def value_of(text: str) -> Value:
    """The setting that the record holds as this text: `str` of the answer is the text itself.

    True and False, whole numbers and numbers as Python writes them; anything else stays text.
    """
    if text in ("True", "False"):
        return text == "True"
    whole = WHOLE.fullmatch(text)
    if not whole and not NUMBER.fullmatch(text):
        return text
    number = int(text) if whole else float(text)
    return number if str(number) == text else text
