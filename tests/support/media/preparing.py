"""What the tests of `prepare` share: a place to work in, decoding in this process, and a clean pass to compare with."""

import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.cache import prepare as _prepare
from mcr_bench.datasets.cache.decoding import Answer, Order
from mcr_bench.datasets.cache.opened import cache_folder
from mcr_bench.datasets.cache.prepare import Made, prepare_clips
from mcr_bench.datasets.cache.recipe import Scan
from mcr_bench.tests.support.media.raw_clips import content, recipe, scan

FOLDER = cache_folder(Path("data") / "bytes", recipe())


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder is an empty one."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding in this process: for tests of all but the workers."""

    def spread(handle: Callable[[Order], Answer], orders: deque[Order], _: int) -> Iterator[tuple[Order, Answer]]:
        while orders:
            order = orders.popleft()
            yield order, handle(order)

    monkeypatch.setattr(_prepare, "spread", spread)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # these tests cut no power


def prepare(source: Path, scanned: Scan | None = None, folder: Path = FOLDER, **how: Any) -> Made:
    """Bring the cache in FOLDER up to date."""
    return prepare_clips("bytes", recipe(), scanned or scan(source), Preparation(source, **how), folder)


def beside() -> list[str]:
    """What lies in the folder of the dataset."""
    return sorted(path.name for path in FOLDER.parent.iterdir())


def clean(source: Path, scanned: Scan) -> dict[str, bytes]:
    """Every file of a cache made by one pass, elsewhere."""
    folder = cache_folder(Path("clean"), recipe())
    shutil.rmtree(folder, ignore_errors=True)
    prepare(source, scanned, folder=folder)
    return content(folder)
