"""HTML as strings that escape themselves: whatever is not `Markup` is text, and becomes harmless when it is placed."""

import html
from collections.abc import Callable, Iterable
from functools import partial

from mcr_bench.bench.core.guard import attempt
from mcr_bench.bench.printable import printable


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: object) -> Markup:
    """`value` as HTML: `Markup` as it is, anything else escaped, also for use in quoted attributes.

    Control characters, which no page may hold, are shown as what they are.
    """
    return value if isinstance(value, Markup) else Markup(html.escape(printable(str(value))))


def join(parts: Iterable[object], separator: str = "") -> Markup:
    """The parts one after the other; separator: text between them."""
    return Markup(text(separator).join(map(text, parts)))


def tag(name: str, *children: object, **attributes: str | int | float | bool | None) -> Markup:
    """An element. Attributes: `class_` is class, `_` is a hyphen, None and False leave out, True gives no value."""
    words = [name]
    for key, value in attributes.items():
        if value is not None and value is not False:
            key = key.rstrip("_").replace("_", "-")
            words.append(key if value is True else f'{key}="{text(value)}"')
    return Markup(f"<{' '.join(words)}>{join(children)}</{name}>")


def definitions(entries: Iterable[tuple[object, object]], class_: str | None = None) -> Markup:
    """A definition list; entries whose value is empty are left out."""
    rows = (tag("div", tag("dt", name), tag("dd", value)) for name, value in entries if value not in ("", None))
    return tag("dl", *rows, class_=class_)


def items(entries: Iterable[object], class_: str | None = None) -> Markup:
    """A list; nothing where there are no entries."""
    found = [tag("li", entry) for entry in entries]
    return tag("ul", *found, class_=class_) if found else Markup()


def fold(summary: object, *children: object, **attributes: str | int | float | bool | None) -> Markup:
    """A part of the page that opens on demand; without a script and in print as well."""
    return tag("details", tag("summary", summary), *children, **attributes)


def part(name: str, make: Callable[[], Markup]) -> Markup:
    """A part of a page; where making it fails, a line that says which part is left out and why."""
    return attempt(make, partial(left_out, name))


def left_out(name: str, reason: str) -> Markup:
    """The line that stands in the place of what could not be made."""
    return tag("p", f"left out: {name}: {reason}", class_="left-out")
