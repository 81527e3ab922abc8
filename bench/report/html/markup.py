"""HTML from the templates beside this file: what is not `Markup` is text, and becomes harmless where it is placed."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mcr_bench.bench.core.guard import attempt
from mcr_bench.bench.printable import shown


def placed(value: object) -> object:
    """What stands for `value` in a page: markup as it is, else text, whose escaping is the templates' own.

    Control characters, which no page may hold, are shown as what they are.
    """
    return value if isinstance(value, Markup) else shown(str(value))


def environment(*folders: Path) -> Environment:
    """The templates of these folders and of the report, which escape what is not `Markup`."""
    return Environment(
        loader=FileSystemLoader([*folders, Path(__file__).with_name("templates")]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=placed,
        trim_blocks=True,
        lstrip_blocks=True,
    )


TEMPLATES = environment()


def render(template: str, **values: object) -> Markup:
    """The template of that name with these values."""
    return Markup(TEMPLATES.get_template(f"{template}.html").render(values))


def part(name: str, make: Callable[[], Markup]) -> Markup:
    """A part of a page; where making it fails, a line that says which part is left out and why."""
    return attempt(make, partial(left_out, name))


def left_out(name: str, reason: str) -> Markup:
    """The line that replaces a part that could not be made."""
    return render("left_out", name=name, reason=reason)
