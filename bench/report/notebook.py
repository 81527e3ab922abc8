"""What is said in a notebook: whether this is one, and a text there that is replaced by the next one."""

import html
import sys
from importlib import import_module

from mcr_bench.bench.printable import shown


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, which shows what objects look like."""
    get = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get is not None and hasattr(get(), "kernel")


class Replaced:
    """A place in the output of the present cell, whose text is replaced."""

    def __init__(self) -> None:
        self._display = import_module("IPython.display").display
        self._place = None

    def show(self, text: str) -> None:
        """Show this text in place of the one before."""
        safe = shown(text)
        content = {"text/plain": safe, "text/html": f'<pre style="white-space: pre-wrap">{html.escape(safe)}</pre>'}
        if self._place is None:
            self._place = self._display(content, raw=True, display_id=True)
        else:
            self._place.update(content, raw=True)
