"""The templates of the report: nothing in them switches escaping off, and what is missing is an error."""

import html
import re

import pytest
from jinja2 import UndefinedError, nodes

from mcr_bench.bench.report.html.markup import TEMPLATES, part, render

NAMES = TEMPLATES.list_templates()
# What would let a label through as markup: the filter, the blocks and the calls that say "this is safe".
UNESCAPED = (nodes.MarkSafe, nodes.MarkSafeIfAutoescape, nodes.EvalContextModifier, nodes.ScopedEvalContextModifier)
EVIL = ["<script>", "\"'><img src=x onerror=alert(1)>", "a\x1b[2Jb", "{{ 7 * 7 }}", "{% raw %}", "&lt;"]


def source(name: str) -> str:
    assert TEMPLATES.loader is not None
    return TEMPLATES.loader.get_source(TEMPLATES, name)[0]


def test_there_are_templates_and_the_page_reads_as_one() -> None:
    assert {"page.html", "comparison.html", "table.html", "words.html"} <= set(NAMES)
    assert source("page.html").count("<main>") == source("page.html").count("</html>") == 1


@pytest.mark.parametrize("name", NAMES)
def test_no_template_switches_escaping_off(name: str) -> None:
    tree = TEMPLATES.parse(source(name))
    assert not [node for kind in UNESCAPED for node in tree.find_all(kind)]
    assert "safe" not in {filter_.name for filter_ in tree.find_all(nodes.Filter)}


@pytest.mark.parametrize("name", NAMES)
def test_every_value_of_an_attribute_stands_in_quotes(name: str) -> None:
    assert not re.search(r"=\s*\{[{%]", source(name)), "outside quotes a space in a label would begin an attribute"


@pytest.mark.parametrize("text", EVIL)
def test_what_is_placed_is_text(text: str) -> None:
    shown = render("left_out", name=text, reason=text)
    assert re.findall("<[^>]*>", shown) == ['<p class="left-out">', "</p>"]
    spelled = text.replace("\x1b", "\\u001b")
    assert html.unescape(shown) == f'<p class="left-out">left out: {spelled}: {spelled}</p>'


def test_a_value_that_is_missing_is_an_error_which_leaves_the_part_out() -> None:
    with pytest.raises(UndefinedError, match="'reason' is undefined"):
        render("left_out", name="x")
    assert "left out: the part: UndefinedError: " in part("the part", lambda: render("left_out", name="x"))
