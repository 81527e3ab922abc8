"""Classes written to files, for the digest of what they compute."""

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from mcr_bench.bench.core.behaviour import behaviour_digest
from mcr_bench.bench.core.user_files import import_file

Files = str | Mapping[str, str]


def digest(folder: Path, files: Files) -> str:
    """Of class `Mine`. files: the text of its file, or of several by path, of which `mine.py` is its own."""
    texts = {"mine.py": files} if isinstance(files, str) else files
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    importlib.invalidate_caches()
    with libraries_kept():
        cls = import_file(folder / "mine.py").Mine
        assert isinstance(cls, type)
        return behaviour_digest(cls)


@contextmanager
def libraries_kept() -> Iterator[None]:
    """What a file changes in torch when it is imported is undone, for the tests that follow in this process."""
    kept = [(module, dict(vars(module))) for module in (torch, torch.nn.functional)]
    try:
        yield
    finally:
        for module, names in kept:
            vars(module).update(names)


def forget(*names: str) -> None:
    """Imported modules of these names and those inside them."""
    for name in [name for name in sys.modules if name.partition(".")[0] in names]:
        del sys.modules[name]
