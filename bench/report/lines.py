"""Rows of the record -> comparisons: the runs that may stand in one table, one line per method and settings."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from mcr_bench.bench.metrics import CLASSIFICATION, REGRESSION

Row = dict[str, Any]
Skipped = tuple[str, str, str]

LOWER_IS_BETTER = {m.name for m in (*CLASSIFICATION, *REGRESSION) if not m.higher_is_better}
SHARES = {m.name for m in (*CLASSIFICATION, *REGRESSION) if m.share}
ORDER = ("unimodal", "ensemble")


@dataclass(frozen=True)
class Comparison:
    """Runs on the same data under one protocol with the same modalities.

    lines: label -> its current finished runs, one per seed and fold. shared: the `--set` settings that all have.
    failed: runs that no finished run covers. replaced: how many older runs are left out. skipped: (method, reason).
    """

    dataset: str
    protocol: str
    modalities: tuple[str, ...]
    metric: str
    presets: tuple[str, ...]
    shared: tuple[str, ...]
    lines: dict[str, list[Row]]
    failed: list[Row]
    replaced: int
    skipped: list[tuple[str, str]]

    @property
    def title(self) -> str:
        """Dataset, modalities, protocol, preset and shared settings."""
        text = f"{self.dataset} · {' + '.join(self.modalities)} · protocol {self.protocol}"
        text += f" · preset {self.presets[0]}" * (len(self.presets) == 1)
        return text + f" · {' '.join(self.shared)}" * bool(self.shared)

    @property
    def rows(self) -> list[Row]:
        """Every run that counts."""
        return [row for runs in self.lines.values() for row in runs]

    def of_role(self, role: str) -> list[str]:
        """The labels of the lines with this role."""
        return [label for label, runs in self.lines.items() if role_of(runs) == role]


def comparisons(rows: Iterable[Row], baseline: str, skipped: Sequence[Skipped] = ()) -> list[Comparison]:
    """One comparison per (data, protocol, modalities), those of a dataset by age.

    rows: as from `Record.rows`; skipped: (dataset, method, reason).
    Lines are ordered: unimodal, ensemble, `baseline`, then the others; the best mean first. Runs of one label whose
    settings or code have changed since its newest run are left out.
    """
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["started"]):
        data = row["tags"].get("data_identity", row["dataset"])
        groups.setdefault((row["dataset"], row["protocol"], data), []).append(row)
    return [
        _comparison(modalities, members, baseline, [(m, why) for where, m, why in skipped if where == dataset])
        for (dataset, *_), group in sorted(groups.items(), key=lambda item: (*item[0][:2], item[1][0]["started"]))
        for modalities, members in _by_modalities(group)
    ]


def modalities_of(row: Row) -> tuple[str, ...]:
    """The modalities that a run used."""
    return tuple(m for m in row["tags"].get("modalities", "").split(",") if m)


def role_of(runs: Sequence[Row]) -> str:
    """reference, unimodal, ensemble or method."""
    return str(runs[0]["tags"].get("role", "method"))


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
    last, presets = rows[-1], tuple(dict.fromkeys(row["preset"] for row in rows))
    finished = [row for row in rows if row["status"] == "finished"]
    lines = _lines(finished, baseline, with_preset=len(presets) > 1)
    return Comparison(
        dataset=last["dataset"],
        protocol=last["protocol"],
        modalities=modalities,
        metric=str(last["metric"]),
        presets=presets,
        shared=tuple(shared),
        lines=lines,
        failed=_failed(rows),
        replaced=len(finished) - sum(map(len, lines.values())),
        skipped=skipped,
    )


def _shared_overrides(rows: list[Row]) -> list[str]:
    """The `--set` settings that every run of a table has: they belong above it, not in every line."""
    first, *others = [row["tags"].get("overrides", "").split() for row in rows]
    return [text for text in first if all(text in other for other in others)]


def _without(row: Row, shared: list[str]) -> Row:
    """The row under a label that names only the settings in which it differs from others."""
    every = row["tags"].get("overrides", "")
    own = " ".join(text for text in every.split() if text not in shared)
    return {**row, "label": row["label"].removesuffix(f" [{every}]") + (f" [{own}]" if own else "")} if every else row


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


def _failed(rows: list[Row]) -> list[Row]:
    """Failed runs whose label, seed and fold no finished run covers."""
    finished = {(row["label"], row["seed"], row["fold"]) for row in rows if row["status"] == "finished"}
    failed = [row for row in rows if row["status"] == "failed"]
    return [row for row in failed if (row["label"], row["seed"], row["fold"]) not in finished]


def _lines(rows: list[Row], baseline: str, *, with_preset: bool) -> dict[str, list[Row]]:
    """Label -> its current runs, one per seed and fold, by role, then the best mean first."""
    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault(row["label"] + f" ({row['preset']})" * with_preset, []).append(row)
    latest = {label: current(runs) for label, runs in lines.items()}
    return dict(sorted(latest.items(), key=lambda item: _order(item[1], baseline)))


def _order(runs: list[Row], baseline: str) -> tuple[int, float, str]:
    """Unimodal, ensemble, baseline, then the others; the best mean first, ties by name."""
    role, mean = runs[0]["tags"]["role"], fmean(row["value"] for row in runs)
    rank = ORDER.index(role) if role in ORDER else len(ORDER) + (runs[0]["method"] != baseline)
    return rank, mean if runs[0]["metric"] in LOWER_IS_BETTER else -mean, runs[0]["label"]
