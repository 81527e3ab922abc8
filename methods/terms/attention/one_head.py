"""The need of a method that acts inside one kind of fusion head."""

from collections.abc import Iterable
from dataclasses import dataclass

from mcr_bench.methods.base import Needs


@dataclass(frozen=True)
class OneHead(Needs):
    """What a method needs that is defined for one fusion head alone.

    head: the name of the head.
    why: what the method does inside it.
    """

    head: str = ""
    why: str = ""

    def unmet_by_head(self, head: str, additive: bool, reads: Iterable[str] = ()) -> str | None:
        """Why another head cannot serve the method; None for the head that it needs.

        >>> OneHead(head="film", why="scales gamma").unmet_by_head("gated", additive=False)
        'scales gamma: it needs model.fusion=film'
        """
        if head != self.head:
            return f"{self.why}: it needs model.fusion={self.head}"
        return super().unmet_by_head(head, additive, reads)
