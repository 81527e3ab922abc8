"""Names and values as MLflow takes them."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.entities import Metric, Param, RunTag


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
