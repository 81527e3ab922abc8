"""What the pytest plug-in collects: a node for each target, with one test for each property."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.testing import kits
from mcr_bench.bench.testing.card import Property, outcome_of


class TargetNode(pytest.Collector):
    """One target."""

    def collect(self) -> Iterable[pytest.Item]:
        """Nothing: `items_of` makes the tests."""
        return []


class PropertyItem(pytest.Item):
    """The test of one property."""

    def __init__(self, *, prop: Property[Any], of: object, file: Path | None, **others: Any) -> None:
        super().__init__(**others)
        self._property, self._of, self._file = prop, of, file

    def runtest(self) -> None:
        """Check it; a property that does not apply is skipped."""
        with _one_thread():
            outcome = outcome_of(self._property, self._of, self._file)
        if outcome.state == "not applicable":
            pytest.skip(outcome.reason)
        if outcome.state == "failed":
            pytest.fail(f"{outcome.promise}: {outcome.reason}\nhint: {outcome.hint}", pytrace=False)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Where the test stands in reports."""
        return self._file or "mcr-bench", None, self.nodeid


def items_of(session: pytest.Session, targets: Sequence[str], data_root: Path) -> list[pytest.Item]:
    """The tests of all targets; a target that cannot be checked is a usage error of pytest.

    data_root: the parent folder of prepared datasets.
    """
    return [item for text in targets for item in _items(session, text, data_root)]


def _items(session: pytest.Session, text: str, data_root: Path) -> Iterator[pytest.Item]:
    try:
        target = kits.opened(text, data_root)
    except UserError as error:
        raise pytest.UsageError(f"--mcr-bench {text}: {error}") from error
    opened = target.opened
    node = TargetNode.from_parent(session, name=text, nodeid=opened.subject)
    of_import = {"prop": kits.IMPORTED, "of": target}
    for of in (of_import, *({"prop": one, "of": opened.of} for one in target.kit.properties)):
        yield PropertyItem.from_parent(node, name=of["prop"].name, file=opened.file, **of)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Small tensors are computed fastest by one thread, the more so where tests run side by side."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
