"""Names and values as MLflow takes them."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mlflow.entities import Metric, Param, RunTag

T = TypeVar("T")


def name_of(text: str) -> str:
    """A name as MLflow takes it: it refuses other characters and paths such as ./file."""
    return re.sub(r"[^\w\-. :/]", "_", text).removeprefix("./")


def param(name: str, value: str) -> "Param":
    from mlflow.entities import Param

    return Param(name_of(name), value)


def tag(name: str, value: str) -> "RunTag":
    from mlflow.entities import RunTag

    return RunTag(name_of(name), value)


def metric(name: str, value: float, when: float, step: int) -> "Metric":
    from mlflow.entities import Metric

    return Metric(name_of(name), float(value), int(when * 1000), step)


def in_parts(items: Iterable[T], size: int) -> list[list[T]]:
    """As many as MLflow takes in one call, and again.

    >>> in_parts("abcde", 2)
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    every = list(items)
    return [every[i : i + size] for i in range(0, len(every), size)]
