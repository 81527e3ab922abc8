"""The folder `datasets/` of a checkout is `mcr_bench.datasets`; `import datasets` is somebody else's library.

With the repository root on sys.path (`python -m`, a script in it) Python would find our folder under that name, and
libraries that look for theirs would believe it installed. A path hook hides it there; the library is found wherever it
is installed, and where it is not, it is missing.
"""

import os
import sys
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
    SourcelessFileLoader,
)
from pathlib import Path

FOREIGN = ("datasets",)
LOADERS = (
    (ExtensionFileLoader, EXTENSION_SUFFIXES),
    (SourceFileLoader, SOURCE_SUFFIXES),
    (SourcelessFileLoader, BYTECODE_SUFFIXES),
)


class OwnFolders(FileFinder):
    """Finds every top-level module of the repository root but those that are other libraries' names."""

    def find_spec(self, fullname: str, target: object = None) -> ModuleSpec | None:
        """None for what lies here under another library's name."""
        return None if fullname in FOREIGN else super().find_spec(fullname)


def hide_from_others(root: Path) -> None:
    """Take the foreign names out of what Python finds in `root`, for this process; again changes nothing."""

    def hook(path: str) -> OwnFolders:
        if not os.path.isdir(path or ".") or not os.path.samefile(path or ".", root):
            raise ImportError(f"'{path}' is not {root}")
        return OwnFolders(path or ".", *LOADERS)

    sys.path_hooks.insert(0, hook)
    for path in list(sys.path_importer_cache):
        if os.path.isdir(path) and os.path.samefile(path, root):
            del sys.path_importer_cache[path]
