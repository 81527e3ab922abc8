"""Phrases that a tired reader stumbles over, and where the project's texts and documents hold them."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

BANNED = {
    r"\b(is|are|was|were) not there\b": "is missing, is not available, does not exist",
    r"\b(is|are) not said\b": "is missing",
    r"(?<!there )\b(is|are) no (?!longer\b|more\b|better\b|worse\b|larger\b|smaller\b|greater\b)": "is not a",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bin vain\b": "without effect, or say what is missing",
    r"\bunderg(o|oes|oing|one)\b": "say who does what to it",
    r"\b(is|are) told\b": "is reported, is shown, is named",
    r"\b(can|could)(not| not) be had\b": "is not available",
    r"\bin the place of\b": "instead of",
    r"\bbut for\b": "except, without",
    r"\bthe one seed\b": "seed N alone",
    r"\btimes no run\b": "has measured no run",
    r"\bsees \d+ GPUs?\b": "finds N GPUs",
    r"\b(thereof|therein|whereby|wherein|thereby|hitherto|henceforth|hereby|whilst)\b": "plain words",
    r"\bASKED: asked\b": "say what the variable holds",
}
PATTERN = re.compile("|".join(f"(?:{phrase})" for phrase in BANNED), re.IGNORECASE)


def phrases(text: str) -> list[str]:
    """Every banned phrase of a text as it stands there; line breaks count as spaces."""
    return [match.group() for match in PATTERN.finditer(" ".join(text.split()))]


def texts_of(path: Path) -> Iterator[str]:
    """The texts of a file: of Python its strings and comments, of other files all of it, paragraph by paragraph."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from re.split(r"\n\s*\n", text)
        return
    yield from _strings(ast.parse(text))
    yield from _comments(text)


def _strings(tree: ast.Module) -> Iterator[str]:
    """Every string; of a formatted one the parts are joined, with X for each value."""
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


def _comments(text: str) -> Iterator[str]:
    """Every comment; comments on lines that follow each other are one text."""
    last, lines = -1, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        if token.start[0] != last + 1:
            yield " ".join(lines)
            lines = []
        last = token.start[0]
        lines.append(token.string.lstrip("# "))
    yield " ".join(lines)
