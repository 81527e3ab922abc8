"""mcr-bench: a fair comparison of balancing methods for multimodal training.

>>> import mcr_bench
>>> c = mcr_bench.run(["joint", "ensemble"], "synthetic", seeds=2, settings={"epochs": 2})  # doctest: +SKIP
>>> c.table()  # doctest: +SKIP
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from mcr_bench.bench.core.import_guard import hide_from_others

if TYPE_CHECKING:
    from mcr_bench.bench.api.balancer import Balancer as Balancer
    from mcr_bench.bench.api.reading import describe as describe
    from mcr_bench.bench.api.reading import predictions as predictions
    from mcr_bench.bench.api.reading import results as results
    from mcr_bench.bench.api.results import Comparison as Comparison
    from mcr_bench.bench.api.running import run as run
    from mcr_bench.bench.errors import UserError as UserError
    from mcr_bench.bench.task import Task as Task
    from mcr_bench.datasets.folders.written import to_arrays as to_arrays

__version__ = "0.2.0"

hide_from_others(Path(__file__).parent)

# Name -> its module. They are imported on first use, as they bring torch and pandas along, which takes seconds.
_PUBLIC = {
    "run": "bench.api.running",
    "results": "bench.api.reading",
    "predictions": "bench.api.reading",
    "describe": "bench.api.reading",
    "Comparison": "bench.api.results",
    "Balancer": "bench.api.balancer",
    "Task": "bench.task",
    "UserError": "bench.errors",
    "to_arrays": "datasets.folders.written",
}
__all__ = [
    "Balancer",
    "Comparison",
    "Task",
    "UserError",
    "__version__",
    "describe",
    "predictions",
    "results",
    "run",
    "to_arrays",
]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mcr_bench' has no attribute '{name}'")
    return getattr(import_module(f"mcr_bench.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
