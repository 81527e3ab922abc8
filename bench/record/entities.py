"""Names and values in the form that MLflow accepts."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from mcr_bench.bench.printable import printable

if TYPE_CHECKING:
    from mlflow.entities import Metric, Param, RunTag

T = TypeVar("T")


@lru_cache(maxsize=4096)  # the names of a curve's points
def name_of(text: str) -> str:
    """`text` as a name that MLflow accepts: without . and .. and empty parts of paths, and with _ for other characters.

    >>> name_of("./mine.py: accuracy%"), name_of("..mine")
    ('mine.py: accuracy_', 'mine')
    """
    parts = re.sub(r"[^\w\-. :/]", "_", text).split("/")
    name = "/".join(part for part in parts if part not in ("", ".", ".."))
    return (name.lstrip("./") if name.startswith("..") else name) or "_"  # MLflow takes `..x` for a way upwards


def param(name: str, value: str) -> "Param":
    """A parameter of a run."""
    from mlflow.entities import Param

    return Param(name_of(name), value)


def tag(name: str, value: str) -> "RunTag":
    """A tag of a run; control characters, which some databases refuse, are written as escapes."""
    from mlflow.entities import RunTag

    return RunTag(name_of(name), printable(value))


def metric(name: str, value: float, when: float, step: int) -> "Metric":
    """A value of a metric at a step; `when` is in seconds since 1970."""
    from mlflow.entities import Metric

    return Metric(name_of(name), float(value), int(when * 1000), step)


def in_parts(items: Iterable[T], size: int) -> list[list[T]]:
    """The items in lists of at most `size`, the number that MLflow accepts in one call.

    >>> in_parts("abcde", 2)
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    every = list(items)
    return [every[i : i + size] for i in range(0, len(every), size)]
