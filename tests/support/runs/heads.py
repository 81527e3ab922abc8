"""The fusion head that a method is tested with: late-linear, unless it is defined for another one alone."""

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.planning.heads import USUAL, usual_head


def head_settings(method: str) -> dict[str, list[str]]:
    """The override that gives a method a head that it is defined for; none where the default is one, or for a file."""
    if method not in registry.method_names():
        return {}
    name = usual_head(registry.method(method)).name
    return {} if name == USUAL else {"model.fusion": [name]}
