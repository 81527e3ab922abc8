"""Keep our folder `datasets/` from being imported as the library `datasets` of the Hugging Face hub.

With the repository root on sys.path (`python -m`, or a script in the root) `import datasets` would find our folder, and
libraries that test whether `datasets` is installed would believe that it is. A path hook hides our folder under that
name. The real library is found if it is installed, and is missing if it is not.
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
    """Finds the top-level modules of the repository root, except those whose names belong to other libraries."""

    def find_spec(self, fullname: str, target: object = None) -> ModuleSpec | None:
        """None for a name of another library; otherwise what Python's own finder gives."""
        return None if fullname in FOREIGN else super().find_spec(fullname)


def hide_from_others(root: Path) -> None:
    """Hide other libraries' names in the folder `root` from imports of this process. A second call changes nothing."""

    def hook(path: str) -> OwnFolders:
        if not os.path.isdir(path or ".") or not os.path.samefile(path or ".", root):
            raise ImportError(f"'{path}' is not {root}")
        return OwnFolders(path or ".", *LOADERS)

    sys.path_hooks.insert(0, hook)
    for path in list(sys.path_importer_cache):
        if os.path.isdir(path) and os.path.samefile(path, root):
            del sys.path_importer_cache[path]
