"""Tables and sentences of claims: first the power, then the primary test, then secondary tests, marked as such."""

import shlex
from collections.abc import Iterable, Sequence
from math import isfinite, isinf, isnan

from mcr_bench.bench.analysis.budgets import epoch_notes
from mcr_bench.bench.analysis.claimed import Against, Claims
from mcr_bench.bench.analysis.claims import cannot, leading, untestable
from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.floors import floor_notes, floor_of, not_above
from mcr_bench.bench.analysis.sample_tests import SampleTests
from mcr_bench.bench.analysis.sizes import sizes_note
from mcr_bench.bench.analysis.table import Cell, Table
from mcr_bench.bench.planning.family import commands_of
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.settings.training import BUDGET
from mcr_bench.bench.statistics.intervals import Interval
from mcr_bench.bench.statistics.power import shortfall
from mcr_bench.bench.statistics.sign_flip import sign_flip_name
from mcr_bench.bench.words import decimal, number_of


def power_lines(claims: Claims) -> list[str]:
    """What the design can show; if it cannot show anything, also the command that trains enough runs."""
    power = claims.power
    if power is None:
        return [f"nothing to test: {untestable(claims)}"]
    if not power.reachable:
        return [cannot(claims), f"to get there: {remedy(claims)}"]
    lines = [
        f"{number_of(power.pairs, '(seed, fold) pair')}, {number_of(power.comparisons, 'comparison')}: "
        f"smallest possible p after Holm {power.smallest:.3g}"
    ]
    if isfinite(power.detectable):
        lines.append(
            f"80 % power at a difference of {power.detectable:.2g} {claims.unit} (median over methods; of the "
            "sign-flip test at alpha / comparisons, differences taken as normal)"
        )
    return lines


def remedy(claims: Claims) -> str:
    """What to do if the design cannot show anything: the command for enough runs, or a way to get the old data."""
    assert claims.power is not None
    if claims.comparison.older:
        return f"put back the data {claims.comparison.data}, which have changed since, and train more seeds on them"
    return command(claims.comparison, claims.power.needed)


def summary(claims: Claims) -> list[str]:
    """The result of the primary test in words."""
    if claims.power is None or not claims.power.reachable:
        return power_lines(claims)
    parts = (("better than", claims.better), ("worse than", claims.worse), ("not separated from", claims.neither))
    lines = [f"{word} {claims.baseline}: {', '.join(sorted(labels))}" for word, labels in parts if labels]
    few = [f"{label}: {pairs} pairs" for label, pairs in sorted(claims.untested.items())]
    return [*lines, f"not tested against {claims.baseline}: {', '.join(few)}"] if few else lines


def claim_tables(claims: Claims) -> list[Table]:
    """The tables of the primary test, of secondary tests and of all pairs; none if nothing could be tested."""
    return [_primary(claims), _secondary(claims), _every_pair(claims)] if claims.against else []


def command(comparison: Comparison, seeds: int) -> str:
    """The command that trains every line of the comparison over this number of seeds, without repeating finished runs.

    It names the family of the primary test as recorded, where that is not the usual one: runs outside it would take
    their line out of the test. Lines with different settings need a command each; these are joined by &&.
    """
    rows = [row for row in comparison.rows if row.role != "unimodal"] or comparison.rows
    groups: dict[tuple[str, ...], list[RunRow]] = {}
    for row in rows:
        groups.setdefault(tuple(row.asked_settings), []).append(row)
    calls = []
    for settings, group in groups.items():
        sources = {row.method: row.source or row.method for row in group}
        tested = sources.keys() - {row.method for row in group if not row.primary}
        for methods, family in commands_of(list(sources), tested):
            calls.append(_command(comparison, [sources[name] for name in methods], settings, str(seeds), family))
    return " &&\n".join(calls)


def baseline_command(comparison: Comparison, baseline: str) -> str:
    """The command that trains the method `baseline` like the lines of the comparison, over their seeds.

    Lines with different budgets need a command each, joined by &&, as a line is tested only against its own budget.
    """
    methods, single = {row.method for row in comparison.rows}, comparison.of_role("unimodal")
    general = {text for text in comparison.shared if text.partition(".")[0] not in methods}
    lines = [runs for label, runs in comparison.lines.items() if label not in single] or [*comparison.lines.values()]
    asked = dict.fromkeys(
        tuple(text for text in runs[0].asked_settings if text in general or text.partition("=")[0] in BUDGET)
        for runs in lines
    )
    seeds = sorted({row.seed for row in comparison.rows})
    numbers = f"{seeds[0]}," if len(seeds) == 1 else ",".join(map(str, seeds))
    return " && ".join(_command(comparison, [baseline], settings, numbers) for settings in asked)


def _command(
    comparison: Comparison, methods: Iterable[str], settings: Iterable[str], seeds: str, family: Sequence[str] = ()
) -> str:
    words = ["mcr-bench", "run", "--methods", ",".join(methods)]
    words += ["--family", ",".join(family)] if family else []
    words += ["--dataset", comparison.rows[-1].dataset_source or comparison.dataset]
    words += ["--protocol", comparison.protocol, "--modalities", ",".join(comparison.modalities)]
    words += ["--preset", comparison.preset]
    words += [word for setting in settings for word in ("--set", setting)]
    return shlex.join([*words, "--seeds", seeds])


def claim_data(claims: Claims) -> dict[str, object]:
    """The claims as plain data, for JSON; numbers that do not exist are null."""
    power = claims.power
    return {
        "title": claims.comparison.title,
        "baseline": claims.baseline,
        "metric": claims.metric,
        "unit": claims.unit,
        "alpha": claims.alpha,
        "power": power and vars(power) | {"detectable": _number(power.detectable)},
        "against": [_against_data(claims, one) for one in claims.against],
        "all_pairs": [
            {"a": a, "b": b, "difference": d, "p_holm": claims.pairs.adjusted[a, b]}
            for (a, b), d in claims.pairs.differences.items()
        ],
        "leading": sorted(leading(claims)[0]),
        "summary": summary(claims),
        "notes": claims.notes,
        "floor": _floor_data(claims),
    }


def _floor_data(claims: Claims) -> dict[str, object] | None:
    """The constant predictor, in the unit of the metric; None if it is not on record."""
    floor = floor_of(claims.comparison, claims.metric)
    if floor is None:
        return None
    low = sorted(not_above(claims.comparison, claims.metric))
    return {"name": floor.name, "mean": floor.mean, "labels_of": floor.part, "not_beaten_by": low}


def _primary(claims: Claims) -> Table:
    labels, rule = leading(claims)
    columns: tuple[str, ...] = ("method", f"difference ({claims.unit})", "95 % low", "high", "p", "p (Holm)", "n")
    columns += (f"test {claims.metric}", "80 % power at")
    base: tuple[Cell, ...] = (claims.baseline, None, None, None, None, None, None, claims.baseline_mean, None)
    rows = [base, *map(_primary_row, claims.against)]
    floor = floor_of(claims.comparison, claims.metric)
    intervals = [one.paired.interval for one in claims.against]
    notes = [rule, "80 % power at: the difference that so many pairs find four times in five at alpha / comparisons"]
    notes += _refused("interval", intervals)
    notes += [f"interval: {name}" for name in dict.fromkeys(i.method for i in intervals)]
    notes += [f"{claims.metric}: lower is better"] if claims.sign < 0 else []
    kind = f"against {claims.baseline} · primary: two-sided {_test_of(claims)}, Holm"
    bold = frozenset(i for i, row in enumerate(rows) if row[0] in labels)
    size = _digits(claims)
    notes += floor_notes(claims.comparison, claims.metric, size, claims.scale)
    place = len(rows) if floor else None
    rows += [(floor.name, *(None,) * 6, claims.scale * floor.mean, None)] if floor else []
    digits = (0, size, size, size, 4, 4, 0, size, size)
    notes += [*claims.notes, *epoch_notes(claims.comparison), *sizes_note(claims.comparison.rows)]
    return _table(claims, kind, columns, digits, rows, notes, bold, place)


def _table(
    claims: Claims,
    kind: str,
    columns: tuple[str, ...],
    digits: tuple[int, ...],
    rows: Sequence[tuple[Cell, ...]],
    notes: list[str],
    bold: frozenset[int] = frozenset(),
    floor: int | None = None,
) -> Table:
    """A table of the comparison. kind: what follows the comparison's title in that of the table."""
    one = claims.comparison
    title, file = f"{one.title} · {kind}", f"{one.file} · {kind}"
    return Table(title, columns, digits, list(rows), notes, bold, file, floor)


def _primary_row(one: Against) -> tuple[Cell, ...]:
    paired = one.paired
    ends = (_number(paired.interval.low), _number(paired.interval.high))
    size = "none" if isinf(one.detectable) else _number(one.detectable)
    return one.label, paired.difference, *ends, paired.sign_flip, one.adjusted, paired.n, one.mean, size


def _secondary(claims: Claims) -> Table:
    tests = [one.samples for one in claims.against if one.samples is not None]
    unit = "groups" if all(one.grouped for one in tests) else "samples"
    ends = (f"{unit} low", f"{unit} high", f"seeds × {unit} low", f"seeds × {unit} high")
    columns = ("method", "t p", "Wilcoxon p", "superiority", "runs", "McNemar p", *ends)
    rows = [
        (one.label, _number(one.paired.t), _number(one.paired.wilcoxon), claims.superiority(one), *_cells(one.samples))
        for one in claims.against
    ]
    notes = [
        "secondary: no correction for multiplicity; decides no bold type and no claim",
        "t: paired, Nadeau-Bengio corrected where training parts overlap; Wilcoxon: two-sided, zeros after Pratt",
        f"superiority: share of the pairs in which the method is better than {claims.baseline}, ties half",
        *_sample_notes(claims, tests, unit),
        *sizes_note(claims.comparison.rows),
    ]
    digits = (0, 4, 4, 2, 0, 4, *[_digits(claims)] * 4)
    return _table(claims, f"against {claims.baseline} · secondary tests", columns, digits, rows, notes)


def _sample_notes(claims: Claims, tests: Sequence[SampleTests], unit: str) -> list[str]:
    if not tests:
        return ["no per-sample tests: they need predictions on record and the protocol's own metric"]
    notes = [
        "runs: pairs of runs whose predictions could be read, of all pairs; McNemar and the intervals rest on these",
        "McNemar: exact, median over the pairs of runs, which share test samples and cannot be pooled; "
        f"it takes the samples as independent{', which those of one group are not' if unit == 'groups' else ''}"
        if any(one.median_mcnemar is not None for one in tests)
        else "no McNemar test: regression has no right and wrong predictions",
        f"{unit}, seeds × {unit}: 95 % intervals of the difference ({claims.unit}) for other such {unit}, "
        f"or other seeds and {unit}, than those tested",
    ]
    if unit == "samples":
        notes.append("samples (no groups named): each test sample counts as a group of its own")
    notes += [f"{unit}: {name}" for name in dict.fromkeys(one.groups.method for one in tests)]
    notes += _refused(f"{unit} interval", [one.groups for one in tests])
    return notes + _refused(f"seeds × {unit} interval", [one.seeds_groups for one in tests])


def _cells(tests: SampleTests | None) -> tuple[Cell, ...]:
    if tests is None:
        return (None,) * 6
    ends = [_number(end) for i in (tests.groups, tests.seeds_groups) for end in (i.low, i.high)]
    return f"{tests.runs} of {tests.pairs}", tests.median_mcnemar, *ends


def _digits(claims: Claims) -> int:
    """The number of decimals of differences."""
    return 2 if claims.scale == 100 else 4


def _test_of(claims: Claims) -> str:
    """What the sign-flip test is called with as many pairs as the comparison has."""
    return sign_flip_name(max((one.paired.n for one in claims.against), default=0))


def _every_pair(claims: Claims) -> Table:
    names = [claims.baseline, *(one.label for one in claims.against)]
    columns = ("method", *(str(i + 1) for i in range(len(names))))
    rows: list[tuple[Cell, ...]] = [
        (f"{i + 1} {row}", *(_pair_text(claims, row, column) for column in names)) for i, row in enumerate(names)
    ]
    count = len(claims.pairs.adjusted)
    family = f"all {count} pairs" if count > 1 else number_of(count, "pair")
    notes = [
        f"row minus column, {claims.unit}; *: p <= {claims.alpha:g} by the {_test_of(claims)}, Holm over "
        f"{family}: a family of its own, which decides no bold type"
    ]
    if claims.power and (short := shortfall(claims.power.pairs, count, claims.alpha)):
        notes.append(f"no star is possible: {short.text}")
    notes += sizes_note(claims.comparison.rows)
    return _table(claims, "all pairs", columns, (0,) * len(columns), rows, notes)


def _pair_text(claims: Claims, row: str, column: str) -> str | None:
    for key, sign in (((row, column), 1), ((column, row), -1)):
        if key in claims.pairs.differences:
            star = "*" if claims.pairs.adjusted[key] <= claims.alpha else ""
            return f"{decimal(sign * claims.pairs.differences[key], _digits(claims), '+z')}{star}"
    return None


def _refused(name: str, intervals: list[Interval]) -> list[str]:
    return [f"{name} refused: {reason}" for reason in dict.fromkeys(i.refused for i in intervals) if reason]


def _against_data(claims: Claims, one: Against) -> dict[str, object]:
    paired, tests = one.paired, one.samples
    return {
        "method": one.label,
        "n": paired.n,
        "primary": one.primary,
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
            "superiority": claims.superiority(one),
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
