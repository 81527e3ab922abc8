"""Contents of a report made by hand: rows as a record gives them, for tests that look at the page."""

import io
from html.parser import HTMLParser
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from mcr_bench.bench.analysis.claims import claims
from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.comparisons import comparisons
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.report.html.contents import Contents, Picture, Section, environment_of
from mcr_bench.tests.support.records.run_rows import run_row

VOID = {"meta", "link", "img", "br", "input"}
HOSTILE = """x</script><script>alert(1)</script>&amp;"' onload='alert(2)' <img src=x onerror=alert(3)>"""


def row(method: str, seed: int, value: float | None, **changes: Any) -> RunRow:
    """One finished run; `tags`, `params` and `metrics` in `changes` are laid over the defaults."""
    tags = {"data_identity": "d", "protocol_card": "official: by actor", "preset_origin": "paper"}
    tags |= {"version/torch": "2.0", "version": "0.1", "device": "cpu", "platform": "here", "commit": "abc"}
    params = {"epochs": "5", "optimizer.name": "adam", "optimizer.lr": "0.1", f"{method}.dial": "1"}
    metrics = {"data/train_samples": 30.0, "data/test_samples": 10.0}
    defaults: dict[str, Any] = {"key": f"key-{method}-{seed}", "preset": "small", "run_id": f"run-{method}-{seed}"}
    defaults |= {"unimodal": {"audio": 0.5, "video": 0.25}, "seconds": 3.0, "seconds_per_step": 0.01}
    defaults |= {"started": 1_000_000.0 + seed}
    laid = {"tags": tags, "params": params, "metrics": metrics}
    nested = {name: values | changes.pop(name, {}) for name, values in laid.items()}
    return run_row(method, seed, value, **defaults | changes | nested)


def runs(seeds: int, label: str = "plus", **changes: Any) -> list[RunRow]:
    """`label` is 2 points above the ensemble and `minus` 3 below it, with every seed; `same` is above and below it."""
    found = []
    for seed in range(seeds):
        base = 0.5 + 0.01 * (seed % 3)
        noise = 0.001 * (seed % 2)
        found += [
            row("ensemble", seed, base, **changes),
            row("plus", seed, base + 0.02 + noise, label=label, **changes),
            row("minus", seed, base - 0.03 - noise, **changes),
            row("same", seed, base + 0.005 * (-1) ** seed, **changes),
        ]
    return found


def compared(rows: list[RunRow]) -> list[Comparison]:
    return comparisons(rows, "ensemble")


def contents(rows: list[RunRow], **parts: Any) -> Contents:
    sections = [Section(found, claims(found, "ensemble")) for found in compared(rows)]
    return Contents(sections, "ensemble", environment=environment_of(rows), **parts)


def svg(text: str) -> bytes:
    """A figure with clipped lines, markers and a text, whose ids are the same in every such figure."""
    figure = Figure(figsize=(2, 2))
    axes = figure.subplots()
    axes.plot([0, 1, 2], [0, 1, 0], marker="o")
    axes.set_title(text)
    out = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "same", "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def picture(about: str, name: str = "methods", text: str = "a figure") -> Picture:
    return Picture(name, "Methods", "Everything at once.", about, svg(text), 2.0)


class Parsed(HTMLParser):
    """Elements of a page with their text; complains of what is not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def ids(self) -> list[str]:
        return [str(attributes["id"]) for _, attributes in self.elements if "id" in attributes]

    @property
    def targets(self) -> list[str]:
        return [str(a["href"]) for _, a in self.elements if "href" in a]

    @property
    def text(self) -> str:
        return "".join(self.texts)
