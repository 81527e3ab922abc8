"""Claims -> tables and sentences: the primary test first, the secondary ones labelled so, power before everything."""

import shlex
from collections.abc import Iterable, Sequence
from math import isfinite, isinf, isnan

from mcr_bench.bench.analysis.budgets import unconverged_notes
from mcr_bench.bench.analysis.claimed import Against, Claims
from mcr_bench.bench.analysis.claims import cannot, leading
from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.floors import floor_notes, floor_of, not_above
from mcr_bench.bench.analysis.sample_tests import SampleTests
from mcr_bench.bench.analysis.sizes import sizes_note
from mcr_bench.bench.analysis.table import Cell, Table
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.settings.training import BUDGET
from mcr_bench.bench.statistics.intervals import Interval
from mcr_bench.bench.statistics.power import shortfall


def power_lines(found: Claims) -> list[str]:
    """What the design can show, and where it cannot, the command that would mend it."""
    power = found.power
    if power is None:
        return [f"nothing to test: no other method shares a seed and fold with {found.baseline}"]
    if not power.reachable:
        return [cannot(found), f"to get there: {remedy(found)}"]
    lines = [
        f"{power.pairs} (seed, fold) pairs, {power.comparisons} comparison(s): "
        f"smallest possible p after Holm {power.smallest:.3g}"
    ]
    if isfinite(power.detectable):
        lines.append(
            f"80 % power at a difference of {power.detectable:.2g} {found.unit} (median over methods; of the sign-flip "
            "test at alpha / comparisons, differences taken as normal)"
        )
    return lines


def remedy(found: Claims) -> str:
    """What gives runs enough to a design that can show nothing: a command, which would train on the newest data."""
    assert found.power is not None
    if found.comparison.older:
        return f"put back the data {found.comparison.data}, which have changed since, and train more seeds on them"
    return command(found.comparison, found.power.needed)


def summary(found: Claims) -> list[str]:
    """The primary result in words."""
    if found.power is None or not found.power.reachable:
        return power_lines(found)
    parts = (("better than", found.better), ("worse than", found.worse), ("not separated from", found.neither))
    lines = [f"{word} {found.baseline}: {', '.join(sorted(labels))}" for word, labels in parts if labels]
    few = [f"{label}: {pairs} pairs" for label, pairs in sorted(found.untested.items())]
    return lines + [f"not tested against {found.baseline}: {', '.join(few)}"] * bool(few)


def claim_tables(found: Claims) -> list[Table]:
    """Primary, secondary and all-pairs table; none where nothing could be paired."""
    return [_primary(found), _secondary(found), _every_pair(found)] if found.against else []


def command(comparison: Comparison, seeds: int) -> str:
    """What trains every line of the comparison over so many seeds; what is finished is not repeated.

    Lines with other settings need a command of their own; they are joined by &&.
    """
    rows = [row for row in comparison.rows if row.role != "unimodal"] or comparison.rows
    groups: dict[tuple[str, ...], list[RunRow]] = {}
    for row in rows:
        groups.setdefault(tuple(row.asked_settings), []).append(row)
    calls = []
    for settings, group in groups.items():
        methods = dict.fromkeys(row.source or row.method for row in group)
        calls.append(_command(comparison, methods, settings, str(seeds)))
    return " &&\n".join(calls)


def baseline_command(comparison: Comparison, baseline: str) -> str:
    """What trains the method `baseline` as the lines of the comparison were trained, over their seeds.

    Where lines have other budgets, one command for each, joined by &&: they are tested against their own alone.
    """
    methods, single = {row.method for row in comparison.rows}, comparison.of_role("unimodal")
    general = {text for text in comparison.shared if text.partition(".")[0] not in methods}
    lines = [runs for label, runs in comparison.lines.items() if label not in single] or [*comparison.lines.values()]
    asked = dict.fromkeys(
        tuple(text for text in runs[0].asked_settings if text in general or text.partition("=")[0] in BUDGET)
        for runs in lines
    )
    seeds = sorted({row.seed for row in comparison.rows})
    numbers = ",".join(map(str, seeds)) + "," * (len(seeds) == 1)
    return " && ".join(_command(comparison, [baseline], settings, numbers) for settings in asked)


def _command(comparison: Comparison, methods: Iterable[str], settings: Iterable[str], seeds: str) -> str:
    words = ["mcr-bench", "run", "--methods", ",".join(methods)]
    words += ["--dataset", comparison.rows[-1].dataset_source or comparison.dataset]
    words += ["--protocol", comparison.protocol, "--modalities", ",".join(comparison.modalities)]
    words += ["--preset", comparison.preset]
    words += [word for setting in settings for word in ("--set", setting)]
    return shlex.join([*words, "--seeds", seeds])


def claim_data(found: Claims) -> dict[str, object]:
    """Everything for a program; numbers that do not exist are null."""
    power = found.power
    return {
        "title": found.comparison.title,
        "baseline": found.baseline,
        "metric": found.metric,
        "unit": found.unit,
        "alpha": found.alpha,
        "power": power and vars(power) | {"detectable": _number(power.detectable)},
        "against": [_against_data(found, one) for one in found.against],
        "all_pairs": [
            {"a": a, "b": b, "difference": d, "p_holm": found.pairs.adjusted[a, b]}
            for (a, b), d in found.pairs.differences.items()
        ],
        "leading": sorted(leading(found)[0]),
        "summary": summary(found),
        "notes": found.notes,
        "floor": _floor_data(found),
    }


def _floor_data(found: Claims) -> dict[str, object] | None:
    """The constant predictor beside the tests, in the metric's own unit."""
    floor = floor_of(found.comparison, found.metric)
    if floor is None:
        return None
    low = sorted(not_above(found.comparison, found.metric))
    return {"name": floor.name, "mean": floor.mean, "labels_of": floor.part, "not_beaten_by": low}


def _primary(found: Claims) -> Table:
    labels, rule = leading(found)
    columns: tuple[str, ...] = ("method", f"difference ({found.unit})", "95 % low", "high", "p", "p (Holm)", "n")
    columns += (f"test {found.metric}", "80 % power at")
    base: tuple[Cell, ...] = (found.baseline, None, None, None, None, None, None, found.baseline_mean, None)
    rows = [base, *map(_primary_row, found.against)]
    floor = floor_of(found.comparison, found.metric)
    intervals = [one.paired.interval for one in found.against]
    notes = [rule, "80 % power at: the difference that so many pairs find four times in five at alpha / comparisons"]
    notes += _refused("interval", intervals)
    notes += [f"interval: {name}" for name in dict.fromkeys(i.method for i in intervals)]
    notes += [f"{found.metric}: lower is better"] * (found.sign < 0)
    kind = f"against {found.baseline} · primary: exact two-sided sign-flip, Holm"
    bold = frozenset(i for i, row in enumerate(rows) if row[0] in labels)
    size = _digits(found)
    notes += floor_notes(found.comparison, found.metric, size, found.scale)
    place = len(rows) if floor else None
    rows += [(floor.name, *(None,) * 6, found.scale * floor.mean, None)] if floor else []
    digits = (0, size, size, size, 4, 4, 0, size, size)
    notes += [*found.notes, *unconverged_notes(found.comparison), *sizes_note(found.comparison.rows)]
    return _table(found, kind, columns, digits, rows, notes, bold, place)


def _table(
    found: Claims,
    kind: str,
    columns: tuple[str, ...],
    digits: tuple[int, ...],
    rows: Sequence[tuple[Cell, ...]],
    notes: list[str],
    bold: frozenset[int] = frozenset(),
    floor: int | None = None,
) -> Table:
    """A table of the comparison; kind: what its title says after the comparison's."""
    one = found.comparison
    title, file = f"{one.title} · {kind}", f"{one.file} · {kind}"
    return Table(title, columns, digits, list(rows), notes, bold, file, floor)


def _primary_row(one: Against) -> tuple[Cell, ...]:
    paired = one.paired
    ends = (_number(paired.interval.low), _number(paired.interval.high))
    size = "none" if isinf(one.detectable) else _number(one.detectable)
    return one.label, paired.difference, *ends, paired.sign_flip, one.adjusted, paired.n, one.mean, size


def _secondary(found: Claims) -> Table:
    tests = [one.samples for one in found.against if one.samples is not None]
    unit = "groups" if all(one.grouped for one in tests) else "samples"
    ends = (f"{unit} low", f"{unit} high", f"seeds × {unit} low", f"seeds × {unit} high")
    columns = ("method", "t p", "Wilcoxon p", "superiority", "runs", "McNemar p", *ends)
    rows = [
        (one.label, _number(one.paired.t), _number(one.paired.wilcoxon), found.superiority(one), *_cells(one.samples))
        for one in found.against
    ]
    notes = [
        "secondary: no correction for multiplicity; decides no bold type and no claim",
        "t: paired, Nadeau-Bengio corrected where training parts overlap; Wilcoxon: two-sided, zeros after Pratt",
        f"superiority: share of the pairs in which the method is better than {found.baseline}, ties half",
        *_sample_notes(found, tests, unit),
        *sizes_note(found.comparison.rows),
    ]
    digits = (0, 4, 4, 2, 0, 4, *[_digits(found)] * 4)
    return _table(found, f"against {found.baseline} · secondary tests", columns, digits, rows, notes)


def _sample_notes(found: Claims, tests: Sequence[SampleTests], unit: str) -> list[str]:
    if not tests:
        return ["no per-sample tests: they need predictions on record and the protocol's own metric"]
    notes = [
        "runs: pairs of runs whose predictions could be read, of all pairs; McNemar and the intervals rest on these",
        "McNemar: exact, median over the pairs of runs, which share test samples and cannot be pooled; "
        "it takes the samples as independent" + ", which those of one group are not" * (unit == "groups")
        if any(one.median_mcnemar is not None for one in tests)
        else "no McNemar test: regression has no right and wrong predictions",
        f"{unit}, seeds × {unit}: 95 % intervals of the difference ({found.unit}) for other such {unit}, "
        f"or other seeds and {unit}, than those tested",
    ]
    notes += ["samples (no groups named): each test sample counts as a group of its own"] * (unit == "samples")
    notes += [f"{unit}: {name}" for name in dict.fromkeys(one.groups.method for one in tests)]
    notes += _refused(f"{unit} interval", [one.groups for one in tests])
    return notes + _refused(f"seeds × {unit} interval", [one.seeds_groups for one in tests])


def _cells(tests: SampleTests | None) -> tuple[Cell, ...]:
    if tests is None:
        return (None,) * 6
    ends = [_number(end) for i in (tests.groups, tests.seeds_groups) for end in (i.low, i.high)]
    return f"{tests.runs} of {tests.pairs}", tests.median_mcnemar, *ends


def _digits(found: Claims) -> int:
    """Of differences."""
    return 2 if found.scale == 100 else 4


def _every_pair(found: Claims) -> Table:
    names = [found.baseline, *(one.label for one in found.against)]
    columns = ("method", *(str(i + 1) for i in range(len(names))))
    rows: list[tuple[Cell, ...]] = [
        (f"{i + 1} {row}", *(_pair_text(found, row, column) for column in names)) for i, row in enumerate(names)
    ]
    count = len(found.pairs.adjusted)
    notes = [
        f"row minus column, {found.unit}; *: p <= {found.alpha:g} by the exact sign-flip test, Holm over all "
        f"{count} pairs: a family of its own, which decides no bold type"
    ]
    if found.power and (short := shortfall(found.power.pairs, count, found.alpha)):
        notes.append(f"no star is possible: {short.text}")
    notes += sizes_note(found.comparison.rows)
    return _table(found, "all pairs", columns, (0,) * len(columns), rows, notes)


def _pair_text(found: Claims, row: str, column: str) -> str | None:
    for key, sign in (((row, column), 1), ((column, row), -1)):
        if key in found.pairs.differences:
            star = "*" * (found.pairs.adjusted[key] <= found.alpha)
            return f"{sign * found.pairs.differences[key]:+z.{_digits(found)}f}{star}"
    return None


def _refused(name: str, intervals: list[Interval]) -> list[str]:
    return [f"{name} refused: {reason}" for reason in dict.fromkeys(i.refused for i in intervals) if reason]


def _against_data(found: Claims, one: Against) -> dict[str, object]:
    paired, tests = one.paired, one.samples
    return {
        "method": one.label,
        "n": paired.n,
        "tested": one.tested,
        "mean": one.mean,
        "difference": paired.difference,
        "interval": _interval_data(paired.interval),
        "p": paired.sign_flip,
        "p_holm": one.adjusted,
        "detectable": _number(one.detectable),
        "secondary": {
            "t": _number(paired.t),
            "wilcoxon": _number(paired.wilcoxon),
            "superiority": found.superiority(one),
            "runs": tests.runs if tests else 0,
            "mcnemar": tests.mcnemar if tests else [],
            "groups": _interval_data(tests.groups) if tests else None,
            "seeds_groups": _interval_data(tests.seeds_groups) if tests else None,
        },
    }


def _interval_data(interval: Interval) -> dict[str, object]:
    ends = {"low": _number(interval.low), "high": _number(interval.high)}
    return {**ends, "method": interval.method, "refused": interval.refused}


def _number(value: float) -> float | None:
    return None if isnan(value) or isinf(value) else value
