"""Types that say nothing stay rare, and none of them stands where a run of the record is read."""

import re
from pathlib import Path

import mcr_bench

ROOT = Path(mcr_bench.__file__).parent
MOST = 4  # words `Any` per 1,000 lines
FILES = [path for folder in ("bench", "methods", "datasets") for path in sorted((ROOT / folder).rglob("*.py"))]
READERS = ("record", "analysis", "report", "tuning", "planning", "commands")


def count(path: Path) -> int:
    """How often the word stands in a file, its imports included."""
    return len(re.findall(r"\bAny\b", path.read_text(encoding="utf-8")))


def test_any_is_rare() -> None:
    files = [*FILES, ROOT / "cli.py"]
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)
    assert len(files) > 200
    assert 1000 * sum(map(count, files)) <= MOST * lines


def test_what_reads_a_run_knows_its_types() -> None:
    readers = [path for room in READERS for path in sorted((ROOT / "bench" / room).rglob("*.py"))]
    assert len(readers) > 60
    assert [str(path.relative_to(ROOT)) for path in readers if count(path)] == []
