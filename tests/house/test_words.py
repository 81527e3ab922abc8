"""Plain English: no message, help text, docstring, comment or document holds a phrase of the banned list."""

from pathlib import Path

import pytest

import mcr_bench
from mcr_bench.tests.support.house.plain_words import BANNED, phrases, texts_of

ROOT = Path(mcr_bench.__file__).parent
PLACES = ("bench", "methods", "datasets", "docs", "examples", "results/experiments", "results/published")
KINDS = {".py", ".md", ".toml", ".html", ".js", ".css"}
FILES = [
    *(path for path in sorted(ROOT.glob("*.*")) if path.suffix in KINDS),
    *(path for place in PLACES for path in sorted((ROOT / place).rglob("*")) if path.suffix in KINDS),
]


def held(path: Path) -> list[str]:
    return [phrase for text in texts_of(path) for phrase in phrases(text)]


def test_no_text_holds_a_banned_phrase() -> None:
    assert {"cli.py", "README.md", "data.md", "table1.toml", "declared.py"} <= {path.name for path in FILES}
    assert {str(path.relative_to(ROOT)): here for path in FILES if (here := held(path))} == {}


PLANTED = {
    "a message": "def f(path):\n    raise ValueError(f'{path} is not there')\n",
    "a message over two strings": "X = 'the file is '\\\n    'no JSON'\n",
    "a formatted message": "def f(name):\n    return f'{name!r} is no {name}'\n",
    "a docstring": 'def f():\n    """What the lists name in\n    vain."""\n',
    "a comment": "X = 1  # mend it\n",
    "a comment over two lines": "# 'methods' is not\n# said\nX = 1\n",
    "a help text": "X = dict(help='Give 0, for the one seed 0')\n",
}


@pytest.mark.parametrize("source", PLANTED.values(), ids=PLANTED)
def test_a_planted_phrase_is_seen_in_python(source: str, tmp_path: Path) -> None:
    path = tmp_path / "planted.py"
    path.write_text(source, encoding="utf-8")
    assert len(held(path)) == 1


@pytest.mark.parametrize("name", ["planted.md", "planted.toml", "planted.html"])
def test_a_planted_phrase_is_seen_in_a_document(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("What a coalition\nundergoes.\n\nAnother paragraph.\n", encoding="utf-8")
    assert held(path) == ["undergoes"]


@pytest.mark.parametrize(
    "text",
    [
        "there is no GPU here",
        "it is no longer used, and are no more than three there",
        "what recommends it is a commendable amendment",
        "found nothing where it could be",
        "'path' is not a file. Fix or delete it.",
    ],
)
def test_plain_words_pass(text: str) -> None:
    assert phrases(text) == []


def test_every_banned_phrase_has_a_better_one() -> None:
    assert all(BANNED.values())
