"""The table of methods in docs/methods.md and the register of defects in docs/defects.md, made from the cards.

`python -m mcr_bench.bench.testing.method_table` writes both.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from sys import modules
from typing import TYPE_CHECKING

import mcr_bench
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.core.files import write_whole
from mcr_bench.bench.settings.declaration import declared
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.methods.costs import step_cost
from mcr_bench.bench.testing.trials.trials import Trials

if TYPE_CHECKING:
    from mcr_bench.methods.base import Method

DOCS = Path(mcr_bench.__file__).parent / "docs"
METHODS, DEFECTS = DOCS / "methods.md", DOCS / "defects.md"
BEGIN, END = "<!-- methods: made by `make cards` -->", "<!-- end of methods -->"
HEAD = """# Where official code departs from its paper

Each method below has the setting `variant`. With `variant=paper`, the default, it follows the rule of its paper. With
`variant=official` it does what the official code does in the places listed here, and nothing else differs: other
differences are named settings, or deviations on the card (`mcr-bench describe METHOD`). For each place a test computes
the official rule independently and compares.
"""


def shipped() -> list["type[Method]"]:
    """The class of every method that comes with the harness, by name."""
    return [registry.method(name) for name in registry.shipped_methods()]


def method_table(classes: "Sequence[type[Method]]") -> str:
    """One line per method: name, paper, idea, group, cost, modalities, regression, variant, official code."""
    names = ("method", "paper", "idea", "group", "passes", "modalities", "regression", "variants", "official code")
    return "\n".join([_line(names), _line(["---"] * len(names)), *(_line(_cells(cls)) for cls in classes)])


def _cells(cls: "type[Method]") -> list[str]:
    needs, code = cls.needs, cls.official_code
    return [
        f"`{cls.name}`",
        _paper(cls),
        idea(cls),
        cls.group,
        _passes(cls),
        str(needs.at_least) if needs.at_least == needs.at_most else f"{needs.at_least} to {_most(needs.at_most)}",
        "no" if Trials(cls).refusal(needs.at_least, Task(None)) else "yes",
        "paper, official" if "variant" in declared(cls) else "",
        f"{_linked(code.address)}{': ' if code.address else ''}{code.state}" if code else "",
    ]


def _passes(cls: "type[Method]") -> str:
    """Encoder passes of a step, forward and backward, over those of joint training; empty if it trains nothing."""
    cost = None if cls.role == "unimodal" else step_cost(Trials(cls))
    return " / ".join(f"{count / cost.joint[name]:.3g}" for name, count in cost.passes.items()) if cost else ""


def _most(at_most: int) -> str:
    return "any" if at_most >= 99 else str(at_most)


def _paper(cls: "type[Method]") -> str:
    reference = cls.reference
    where = f"{reference.venue}, {reference.arxiv}" if reference.arxiv else reference.venue
    return f"{reference.title} ({where})"


def _linked(address: str) -> str:
    return f"[{address.partition('/')[2]}](https://{address})" if address else ""


def idea(cls: "type[Method]") -> str:
    """What the method does, in a line: the first line of its module's text, without the name before the colon."""
    text = (modules[cls.__module__].__doc__ or "").strip().partition("\n")[0]
    return text.partition(": ")[2] or text


def defect_page(classes: "Sequence[type[Method]]") -> str:
    """The register: for each method with defects the repository, the published variant, and every place."""
    return "\n".join([HEAD, *(_defects(cls) for cls in classes if cls.defects)])


def _defects(cls: "type[Method]") -> str:
    code = cls.official_code
    commit = f", commit {code.commit}" if code and code.commit else ""
    where = (_linked(code.address) or code.state) if code else "none"
    rows = [(one.place, one.code, one.paper) for one in cls.defects]
    lines = [_line(row) for row in [("place", "official code", "paper"), ("---", "---", "---"), *rows]]
    return "\n".join(
        [
            f"## {cls.name}\n",
            f"{_paper(cls)}. Code: {where}{commit}. Published numbers come from "
            f"{f'variant={cls.published}' if cls.published else 'a variant that is not known'}.\n",
            *lines,
            "",
        ]
    )


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def with_table(page: str, table: str) -> str:
    """The page with the table between its marks as it is now."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    write_whole(METHODS, with_table(METHODS.read_text(encoding="utf-8"), method_table(shipped())))
    write_whole(DEFECTS, defect_page(shipped()))
