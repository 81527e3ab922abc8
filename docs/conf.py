"""Settings of Sphinx for the documentation site: the pages of this folder, docstrings, and pages made of cards."""

import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from card_pages import write_pages  # noqa: E402  # it is beside this file

import mcr_bench  # noqa: E402

project = "mcr-bench"
author = "The mcr-bench authors"
version = release = mcr_bench.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["**/.*"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3  # links to headings work as on other hosts of Markdown

default_role = "code"  # a word between single backquotes is code, as in Markdown
add_module_names = False
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
maximum_signature_line_length = 90
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"mcr-bench {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_sourcelink = False
html_theme_options = {"top_of_page_buttons": []}

FACT = re.compile(r"^(\w+(?:, \w+)*): ")
BAR = re.compile(r"(`[^`]*`)|\|")  # outside code
LINKS = {"](docs/": "](", "](examples/README.md)": "](example-package.md)", "](LICENSE)": "](licence.md)"}


def as_written(*event: Any) -> None:
    """Docstrings are plain text: bars stay as they are, and lines of the form `name: what it is` make a list."""
    lines: list[str] = event[-1]
    for start, end in paragraphs(lines):
        text = lines[start:end]
        if not text[0].startswith(">>>"):
            lines[start:end] = [BAR.sub(lambda bar: bar[1] or r"\|", line) for line in listed(text)]


def paragraphs(lines: list[str]) -> list[tuple[int, int]]:
    """First line and end of every paragraph."""
    ends = [i for i, line in enumerate([*lines, ""]) if not line.strip()]
    return [(start, end) for start, end in zip([0, *(end + 1 for end in ends)], ends, strict=False) if start < end]


def listed(text: list[str]) -> list[str]:
    """A paragraph in which every line that is not indented is `name: what it is`, as a list."""
    own = [line for line in text if not line.startswith(" ")]
    if text[0] not in own or not all(FACT.match(line) for line in own):
        return text
    return [FACT.sub(r"- ``\1``: ", line) if line in own else f"  {line.strip()}" for line in text]


def linked_within_the_site(*event: Any) -> None:
    """Links of a page of the root of the project, which is included here, as links between pages of the site."""
    content: list[str] = event[-1]
    for written, here in LINKS.items():
        content[0] = content[0].replace(written, here)


def setup(app: Sphinx) -> None:
    write_pages(HERE / "reference" / "made")
    app.connect("autodoc-process-docstring", as_written)
    app.connect("include-read", linked_within_the_site)
