"""Make comparisons of the rows of a record: the runs that may be in one table, one line per method and settings."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from statistics import fmean

from mcr_bench.bench.analysis.compared import LOWER_IS_BETTER, Comparison, Skipped
from mcr_bench.bench.analysis.versions import told_apart
from mcr_bench.bench.record.row import Pair, RunRow
from mcr_bench.bench.runs.overrides import bears_on, named

ORDER = ("unimodal", "ensemble")


def comparisons(
    rows: Iterable[RunRow],
    baseline: str,
    skipped: Sequence[Skipped] = (),
    under: Mapping[Skipped, Collection[str]] | None = None,
) -> list[Comparison]:
    """One comparison for each data, protocol, preset and modalities; those of a dataset are ordered by age.

    A run that was requested under several presets is in the comparison of each. If the data changed under one name,
    each comparison shows its data. Lines are ordered: unimodal, ensemble, `baseline`, then the others, each group with
    the best mean first. Of a label, only runs with the settings and code of its newest run are kept.

    rows: the rows of the record.
    baseline: the method whose line comes before the others.
    skipped: (dataset, method, reason) of the methods that could not be run.
    under: the presets under which they could not; all presets where it says nothing.
    """
    groups: dict[tuple[str, ...], list[RunRow]] = {}
    for row in sorted(rows, key=lambda row: row.order):
        for preset in row.asked:
            key = (row.dataset, row.protocol, row.data_identity, preset, row.metric)
            groups.setdefault(key, []).append(_under(row, preset))
    compared = [
        _comparison(modalities, members, baseline, _skips(skipped, under or {}, dataset, preset))
        for (dataset, _, _, preset, _), group in sorted(
            groups.items(), key=lambda item: (*item[0][:2], item[1][0].order)
        )
        for modalities, members in _by_modalities(group)
    ]
    return told_apart(compared)


def _skips(
    skipped: Sequence[Skipped], under: Mapping[Skipped, Collection[str]], dataset: str, preset: str
) -> list[tuple[str, str]]:
    """(method, reason) of what could not be run on the dataset under the preset."""
    return [skip[1:] for skip in skipped if skip[0] == dataset and preset in under.get(skip, (preset,))]


def asked_under(row: RunRow, presets: Iterable[str]) -> RunRow:
    """The row as if its run had been requested under these presets only; other presets than its own are ignored."""
    known = row.asked
    first, *more = [name for name in presets if name in known] or [row.preset]
    under, others = _under(row, first), {name: known[name] for name in more}
    return under if under.other_presets == others else replace(under, other_presets=others)


def has_value(row: RunRow) -> bool:
    """Whether a run has a finite value of its metric."""
    return row.value is not None and isfinite(row.value)


def overlap_of(runs: Iterable[RunRow]) -> float | None:
    """n_test / n_train of runs that cover several folds, whose training parts overlap; None for one fold."""
    known = list(runs)
    shares = [row.samples["test"] / row.samples["train"] for row in known if _sized(row)]
    return fmean(shares) if several_folds(known) and shares else None


def _sized(row: RunRow) -> bool:
    """Whether the sizes of the training and the test part are on record."""
    return bool(row.samples.get("train") and row.samples.get("test"))


def several_folds(runs: Iterable[RunRow]) -> bool:
    """Whether the runs cover more than one fold."""
    return len({row.fold for row in runs}) > 1


def current(runs: Sequence[RunRow]) -> list[RunRow]:
    """Of runs ordered by age, those with the settings and code of the newest one; one per seed and fold."""
    return list({row.pair: row for row in runs if row.config == runs[-1].config}.values())


def pairs_of(runs: Sequence[RunRow]) -> dict[Pair, RunRow]:
    """(seed, fold) -> its run."""
    return {row.pair: row for row in runs}


def _comparison(
    modalities: tuple[str, ...], rows: list[RunRow], baseline: str, skipped: list[tuple[str, str]]
) -> Comparison:
    names = _names(rows)
    shared = _shared_overrides(rows, names)
    rows = [_without(row, shared, names) for row in rows]
    last = rows[-1]
    finished = [row for row in rows if row.finished]
    latest = _latest(finished)
    valueless = [row for runs in latest.values() for row in runs if not has_value(row)]
    return Comparison(
        dataset=last.dataset,
        protocol=last.protocol,
        modalities=modalities,
        metric=last.metric,
        preset=last.preset,
        shared=tuple(shared),
        lines=_ordered(latest, baseline),
        failed=_uncovered(rows, "failed"),
        replaced=len(finished) - sum(map(len, latest.values())),
        skipped=skipped,
        valueless=valueless,
        unfinished=_uncovered(rows, "killed", "running"),
    )


def _under(row: RunRow, preset: str) -> RunRow:
    """The row as its run was requested under this preset."""
    if preset == row.preset:
        return row
    asked = row.asked[preset]
    label = _relabelled(row, asked.overrides)
    return replace(row, preset=preset, preset_origin=asked.origin, overrides=asked.overrides, label=label)


def _names(rows: list[RunRow]) -> dict[str, str]:
    """`--set` setting -> how labels have it: nets by their classes, unless two nets of a table have one name."""
    nets: dict[str, set[str]] = {}
    for row in rows:
        for text in row.asked_settings:
            digest = row.settings.get(f"{text.partition('=')[0]}_digest", text)
            nets.setdefault(named(text), set()).add(str(digest))
    return {text: named(text) if len(nets[named(text)]) == 1 else text for row in rows for text in row.asked_settings}


def _shared_overrides(rows: list[RunRow], names: Mapping[str, str]) -> list[str]:
    """The `--set` settings that all runs of a table have which they bear on; they are shown above it, not in lines.

    A setting of the encoder of a modality bears on the runs with this modality.
    """
    asked = [(row, {names[text] for text in row.asked_settings}) for row in rows]
    return [
        text
        for text, name in names.items()
        if all(name in mine for row, mine in asked if bears_on(text.partition("=")[0], row.modalities))
    ]


def _without(row: RunRow, shared: list[str], names: Mapping[str, str]) -> RunRow:
    """The row with a label that names only the settings in which it differs from others."""
    label = _relabelled(row, " ".join(names[text] for text in row.asked_settings if text not in shared))
    return row if label == row.label else replace(row, label=label)


def _relabelled(row: RunRow, settings: str) -> str:
    """The row's label with these settings instead of its own."""
    plain = row.label.removesuffix(f" [{row.overrides}]")
    return f"{plain} [{settings}]" if settings else plain


def _single(row: RunRow) -> bool:
    return row.role == ORDER[0]


def _by_modalities(group: list[RunRow]) -> list[tuple[tuple[str, ...], list[RunRow]]]:
    """Each set of modalities with its runs; a unimodal run belongs to every set that contains its modality."""
    single = [row for row in group if _single(row)]
    sets = dict.fromkeys(row.modalities for row in group if not _single(row))
    if not sets:
        sets = {tuple(dict.fromkeys(m for row in single for m in row.modalities)): None}
    return [
        (
            chosen,
            [row for row in single if set(row.modalities) <= set(chosen)]
            + [row for row in group if not _single(row) and row.modalities == chosen],
        )
        for chosen in sorted(sets)
    ]


def _uncovered(rows: list[RunRow], *statuses: str) -> list[RunRow]:
    """The runs with one of these statuses whose label, seed and fold have no finished run."""
    finished = {(row.label, row.pair) for row in rows if row.finished}
    ended = [row for row in rows if row.status in statuses]
    return [row for row in ended if (row.label, row.pair) not in finished]


def _latest(rows: list[RunRow]) -> dict[str, list[RunRow]]:
    """Label -> its current runs, one per seed and fold."""
    lines: dict[str, list[RunRow]] = {}
    for row in rows:
        lines.setdefault(row.label, []).append(row)
    return {label: current(runs) for label, runs in lines.items()}


def _ordered(lines: dict[str, list[RunRow]], baseline: str) -> dict[str, list[RunRow]]:
    """The lines, with only their runs that have a value, ordered by role and then by mean."""
    valued = {label: [row for row in runs if has_value(row)] for label, runs in lines.items()}
    return dict(sorted(((k, v) for k, v in valued.items() if v), key=lambda item: _order(item[1], baseline)))


def _order(runs: list[RunRow], baseline: str) -> tuple[int, float, str]:
    """The place of a line: unimodal, ensemble, baseline, then the others; the best mean first, ties by name."""
    role, mean = runs[0].role, fmean(row.value for row in runs if row.value is not None)
    rank = ORDER.index(role) if role in ORDER else len(ORDER) + (runs[0].method != baseline)
    return rank, mean if runs[0].metric in LOWER_IS_BETTER else -mean, runs[0].label
