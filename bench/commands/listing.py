"""The rows that `mcr-bench list` prints."""

from mcr_bench.bench.catalog import nets, registry
from mcr_bench.bench.planning.experiment import read_experiment, shipped
from mcr_bench.bench.report import cards
from mcr_bench.bench.report.head_table import list_heads
from mcr_bench.bench.report.net_cards import list_encoders, list_fusions


def rows_of(what: str) -> list[dict[str, object]]:
    """One row for each method, dataset, encoder, fusion head, preset, experiment or figure, as `what` says.

    heads: one row per method, with the fusion heads that it is defined for.
    """
    if what == "figures":
        from mcr_bench.bench.figures.catalog import CARDS  # matplotlib takes a second

        return [vars(card) for card in CARDS.values()]
    rows = {
        "methods": cards.list_methods,
        "datasets": cards.list_datasets,
        "encoders": list_encoders,
        "fusions": list_fusions,
        "heads": list_heads,
        "presets": cards.list_presets,
        "experiments": _experiments,
    }
    return rows[what]()


def left_out_of(what: str) -> tuple[str, ...]:
    """A line for each registered name that is in none of the rows, since what it means cannot be imported."""
    if what == "methods":
        return registry.methods().left_out
    if what in ("datasets", "presets"):
        return registry.datasets().left_out
    if what == "encoders":
        return nets.encoders().left_out
    return nets.fusions().left_out if what == "fusions" else ()


def _experiments() -> list[dict[str, object]]:
    experiments = {name: read_experiment(name.removesuffix(".toml")) for name in shipped()}
    return [{"name": name, "title": one.title, "note": " ".join(one.note.split())} for name, one in experiments.items()]
