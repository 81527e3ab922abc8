"""The table of methods and fusion heads: for rows of a list, and as a page of the documentation.

`python -m mcr_bench.bench.report.head_table` writes it into docs/nets.md.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import mcr_bench
from mcr_bench.bench.core.files import write_whole
from mcr_bench.bench.planning.heads import method_and_head

Cells = Mapping[str, Mapping[str, str | None]]
PAGE = Path(mcr_bench.__file__).parent / "docs" / "nets.md"
BEGIN, END = "<!-- methods and heads: made by `make heads` -->", "<!-- end of methods and heads -->"


def list_heads() -> list[dict[str, object]]:
    """One row per method: for each fusion head yes or no, and why not."""
    return [
        {
            "method": name,
            **{head: "no" if reason else "yes" for head, reason in heads.items()},
            "why not": "; ".join(f"{names}: {reason}" for reason, names in grouped(heads).items()),
        }
        for name, heads in method_and_head().items()
    ]


def defined_for(reasons: Mapping[str, str | None]) -> dict[str, object]:
    """Of heads or methods with the reasons against them: those without one, and the others with it, for a card."""
    return {
        "defined for": [name for name, reason in reasons.items() if reason is None],
        "not for": [f"{names}: {reason}" for reason, names in grouped(reasons).items()],
    }


def grouped(reasons: Mapping[str, str | None]) -> dict[str, str]:
    """Reason -> the names that it stands against.

    >>> grouped({"gated": "needs an additive head", "late-linear": None, "film": "needs an additive head"})
    {'needs an additive head': 'gated, film'}
    """
    against: dict[str, str] = {}
    for name, reason in reasons.items():
        if reason is not None:
            told = general(reason, name)
            against[told] = f"{against[told]}, {name}" if told in against else name
    return against


def general(reason: str, name: str) -> str:
    """A reason that names a head or method, in words that hold for others too.

    >>> general("gives features of its own making, but class-token reads tokens", "class-token")
    'gives features of its own making, but it reads tokens'
    """
    return reason.replace(f", but {name} ", ", but it ")


def markdown(cells: Cells) -> str:
    """The table: methods as rows, heads as columns; numbers stand for the reasons below it."""
    methods, heads = list(cells), list(next(iter(cells.values())))
    kinds = list(dict.fromkeys(general(r, head) for m in methods for head, r in cells[m].items() if r is not None))
    rows = [[m, *(_cell(cells[m][head], head, kinds) for head in heads)] for m in methods]
    lines = [_line(["method", *heads]), _line(["---"] * (1 + len(heads))), *map(_line, rows)]
    notes = [f"{place}. {reason}" for place, reason in enumerate(kinds, 1)]
    return "\n".join([*lines, "", *notes])


def _cell(reason: str | None, head: str, kinds: list[str]) -> str:
    return "yes" if reason is None else f"no ({1 + kinds.index(general(reason, head))})"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def with_table(page: str, cells: Cells) -> str:
    """The page with the table between its marks as it is now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{markdown(cells)}\n{END}{after}"


if __name__ == "__main__":
    write_whole(PAGE, with_table(PAGE.read_text(encoding="utf-8"), method_and_head()))
