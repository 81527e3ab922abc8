"""Rows of the record -> comparisons: the runs that may stand in one table, one line per method and settings."""

import json
from collections.abc import Iterable, Sequence
from math import isfinite
from statistics import fmean

from mcr_bench.bench.analysis.compared import LOWER_IS_BETTER, Comparison, Row, Skipped, role_of, settings_of
from mcr_bench.bench.analysis.versions import told_apart
from mcr_bench.bench.record.runs import PRESETS, asked_presets

ORDER = ("unimodal", "ensemble")


def comparisons(rows: Iterable[Row], baseline: str, skipped: Sequence[Skipped] = ()) -> list[Comparison]:
    """One comparison per (data, protocol, preset, modalities), those of a dataset by age.

    rows: as from `Record.rows`; skipped: (dataset, method, reason).
    A run that was asked for under several presets, which say the same about it, is in the comparison of each.
    Comparisons on data that went by one name say which data they are on. Lines are ordered: unimodal, ensemble,
    `baseline`, then the others; the best mean first. Runs of one label whose settings or code have changed since its
    newest run are left out.
    """
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["started"]):
        data = row["tags"].get("data_identity", row["dataset"])
        for preset in asked_presets(row["preset"], row["tags"]):
            key = (row["dataset"], row["protocol"], data, preset)
            groups.setdefault(key, []).append(_under(row, preset))
    found = [
        _comparison(modalities, members, baseline, [(m, why) for where, m, why in skipped if where == dataset])
        for (dataset, *_), group in sorted(groups.items(), key=lambda item: (*item[0][:2], item[1][0]["started"]))
        for modalities, members in _by_modalities(group)
    ]
    return told_apart(found)


def asked_under(row: Row, presets: Iterable[str]) -> Row:
    """The row as if it had been asked for under these presets only; unknown ones do not count."""
    known = asked_presets(row["preset"], row["tags"])
    first, *others = [name for name in presets if name in known] or [row["preset"]]
    shown = _under(row, first)
    return shown | {"tags": shown["tags"] | {PRESETS: json.dumps({name: known[name] for name in others})}}


def has_value(row: Row) -> bool:
    """Whether a run has a finite value of its metric."""
    return row["value"] is not None and isfinite(row["value"])


def overlap_of(runs: Iterable[Row]) -> float | None:
    """n_test / n_train where the runs cover several folds of the same data, whose training parts then overlap."""
    known = list(runs)
    sizes = [
        (m["data/test_samples"], m["data/train_samples"])
        for m in (row["metrics"] for row in known)
        if m.get("data/train_samples") and m.get("data/test_samples")
    ]
    return fmean(test / train for test, train in sizes) if several_folds(known) and sizes else None


def several_folds(runs: Iterable[Row]) -> bool:
    return len({row["fold"] for row in runs}) > 1


def modalities_of(row: Row) -> tuple[str, ...]:
    """The modalities that a run used."""
    return tuple(m for m in row["tags"].get("modalities", "").split(",") if m)


def current(runs: Sequence[Row]) -> list[Row]:
    """Of runs ordered by age those with the newest one's configuration (settings, code); one per seed and fold."""
    config = runs[-1]["tags"].get("config")
    return list({(row["seed"], row["fold"]): row for row in runs if row["tags"].get("config") == config}.values())


def pairs_of(runs: Sequence[Row]) -> dict[tuple[int, int], Row]:
    """(seed, fold) -> run."""
    return {(row["seed"], row["fold"]): row for row in runs}


def _comparison(
    modalities: tuple[str, ...], rows: list[Row], baseline: str, skipped: list[tuple[str, str]]
) -> Comparison:
    shared = _shared_overrides(rows)
    rows = [_without(row, shared) for row in rows]
    last = rows[-1]
    finished = [row for row in rows if row["status"] == "finished"]
    latest = _latest(finished)
    valueless = [row for runs in latest.values() for row in runs if not has_value(row)]
    return Comparison(
        dataset=last["dataset"],
        protocol=last["protocol"],
        modalities=modalities,
        metric=str(last["metric"]),
        preset=last["preset"],
        shared=tuple(shared),
        lines=_ordered(latest, baseline),
        failed=_uncovered(rows, "failed"),
        replaced=len(finished) - sum(map(len, latest.values())),
        skipped=skipped,
        valueless=valueless,
        unfinished=_uncovered(rows, "killed", "running"),
    )


def _under(row: Row, preset: str) -> Row:
    """The row as it was asked for under this preset."""
    if preset == row["preset"]:
        return row
    asked = asked_presets(row["preset"], row["tags"])[preset]
    tags = row["tags"] | {"preset_origin": asked["origin"], "overrides": asked["overrides"]}
    return row | {"preset": preset, "tags": tags, "label": _relabelled(row, asked["overrides"])}


def _shared_overrides(rows: list[Row]) -> list[str]:
    """The `--set` settings that every run of a table has: they belong above it, not in every line."""
    first, *others = [row["tags"].get("overrides", "").split() for row in rows]
    return [text for text in first if all(text in other for other in others)]


def _without(row: Row, shared: list[str]) -> Row:
    """The row under a label that names only the settings in which it differs from others."""
    return row | {"label": _relabelled(row, " ".join(text for text in settings_of(row) if text not in shared))}


def _relabelled(row: Row, settings: str) -> str:
    """The row's label with these settings in the place of its own."""
    plain = str(row["label"]).removesuffix(f" [{row['tags'].get('overrides', '')}]")
    return plain + f" [{settings}]" * bool(settings)


def _single(row: Row) -> bool:
    return role_of([row]) == ORDER[0]


def _by_modalities(group: list[Row]) -> list[tuple[tuple[str, ...], list[Row]]]:
    """Unimodal runs belong to the table of every set that holds their modality."""
    single = [row for row in group if _single(row)]
    sets = dict.fromkeys(modalities_of(row) for row in group if not _single(row))
    if not sets:
        sets = {tuple(dict.fromkeys(m for row in single for m in modalities_of(row))): None}
    return [
        (
            chosen,
            [row for row in single if set(modalities_of(row)) <= set(chosen)]
            + [row for row in group if not _single(row) and modalities_of(row) == chosen],
        )
        for chosen in sorted(sets)
    ]


def _uncovered(rows: list[Row], *statuses: str) -> list[Row]:
    """Runs that ended so and whose label, seed and fold no finished run covers."""
    finished = {(row["label"], row["seed"], row["fold"]) for row in rows if row["status"] == "finished"}
    found = [row for row in rows if row["status"] in statuses]
    return [row for row in found if (row["label"], row["seed"], row["fold"]) not in finished]


def _latest(rows: list[Row]) -> dict[str, list[Row]]:
    """Label -> its current runs, one per seed and fold."""
    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault(row["label"], []).append(row)
    return {label: current(runs) for label, runs in lines.items()}


def _ordered(lines: dict[str, list[Row]], baseline: str) -> dict[str, list[Row]]:
    """The lines' runs that have a value, by role, then the best mean first."""
    valued = {label: [row for row in runs if has_value(row)] for label, runs in lines.items()}
    return dict(sorted(((k, v) for k, v in valued.items() if v), key=lambda item: _order(item[1], baseline)))


def _order(runs: list[Row], baseline: str) -> tuple[int, float, str]:
    """Unimodal, ensemble, baseline, then the others; the best mean first, ties by name."""
    role, mean = runs[0]["tags"]["role"], fmean(row["value"] for row in runs)
    rank = ORDER.index(role) if role in ORDER else len(ORDER) + (runs[0]["method"] != baseline)
    return rank, mean if runs[0]["metric"] in LOWER_IS_BETTER else -mean, runs[0]["label"]
