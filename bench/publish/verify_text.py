"""What came of checking a submission, in words and as plain data."""

from collections.abc import Iterable, Sequence

from mcr_bench.bench.publish.said import NEVER, Said, Verified

MOST = 20  # lines of one kind


def verified_text(verified: Verified) -> str:
    """The lines for a terminal: what holds, what is wrong, what is not proven."""
    wrong = [f"WRONG: {one.run}: {one.text}" for one in verified.of("wrong")]
    unproven = [f"not proven: {text} ({runs})" for text, runs in _by_text(verified.of("unproven"))]
    lines = [
        f"{verified.name}: {_count(verified.runs, 'run')} of {', '.join(verified.methods)} on "
        f"{', '.join(verified.datasets)}",
        *(f"holds: {text}" for text in _held(verified.of("holds"))),
        *_some(wrong),
        *_some(unproven),
        *(f"not proven: {text}" for text in NEVER),
        "Nothing that can be checked is wrong."
        if verified.holds
        else f"{_count(len(wrong), 'thing')} in it {'is' if len(wrong) == 1 else 'are'} wrong.",
    ]
    return "\n".join(lines)


def verified_data(verified: Verified) -> dict[str, object]:
    """The same as plain data, for JSON."""
    facts = {name: getattr(verified, name) for name in ("name", "runs", "methods", "datasets", "holds")}
    return facts | {"said": [vars(one) for one in verified.said], "never_proven": list(NEVER)}


def _held(said: Sequence[Said]) -> list[str]:
    """One line per kind and text: how many numbers or samples of how many runs."""
    groups: dict[tuple[str, str], list[Said]] = {}
    for one in said:
        groups.setdefault((one.kind, one.text), []).append(one)
    return [
        f"{kind} of {_count(len(several), 'run')} {text}"
        if all(one.count == 1 for one in several)
        else f"{sum(one.count for one in several):,} {kind} of {_count(len(several), 'run')} {text}"
        for (kind, text), several in groups.items()
    ]


def _by_text(said: Iterable[Said]) -> list[tuple[str, str]]:
    """Text -> the runs that it is about."""
    runs: dict[str, list[str]] = {}
    for one in said:
        runs.setdefault(one.text, []).append(one.run)
    return [(text, names[0] if len(names) == 1 else _count(len(names), "run")) for text, names in runs.items()]


def _some(lines: Sequence[str]) -> list[str]:
    return [*lines[:MOST], *([f"... and {len(lines) - MOST} more"] if len(lines) > MOST else [])]


def _count(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number:,} {what}s"
