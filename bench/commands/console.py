"""The console of all styled output: tables, bars and lines of progress."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from mcr_bench.bench.printable import shown


class SafeConsole(Console):
    """A console that prints control characters of texts as escapes; those that rich itself needs are not changed."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of a renderable, without credentials and with control characters in their text as escapes."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(shown(segment.text), segment.style)
