"""The documentation site: every page is reached, every card has a page, commands exist, and it is built."""

import re
import shlex
import subprocess
import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

import mcr_bench
from mcr_bench.bench.catalog.kind_of_file import registered
from mcr_bench.cli import app
from mcr_bench.tests.support.house.examples import ROOT

DOCS = ROOT / "docs"
SPHINX = ("sphinx", "furo", "myst_parser")
CALL = re.compile(r"^mcr-bench (.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def card_pages() -> ModuleType:
    """The module that makes pages of cards, which stands beside them and in no package."""
    spec = spec_from_file_location("card_pages", DOCS / "card_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(card_pages: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the pages that are made of cards."""
    folder = tmp_path_factory.mktemp("made")
    card_pages.write_pages(folder)
    return folder


def pages(folder: Path) -> set[str]:
    return {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.md")}


def entries(page: Path) -> set[str]:
    """What the tables of contents of a page list, without the titles that they give."""
    tables = re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.strip() for table in tables for line in table.splitlines() if line and not line.startswith(":")]
    return {re.sub(r".*<(.*)>", r"\1", line) for line in lines}


def test_every_page_is_listed_and_every_entry_is_a_page(made: Path) -> None:
    own = {name for name in pages(DOCS) if not name.startswith("reference/made/")} - {"index"}
    indexes = {f"reference/made/{name}" for name in pages(made) if "/" not in name}
    assert entries(DOCS / "index.md") == own | indexes


def test_all_that_is_public_is_in_the_reference_of_the_interface() -> None:
    page = (DOCS / "reference" / "interface.md").read_text(encoding="utf-8")
    entries_of = {name.rpartition(".")[2] for name in re.findall(r"\.\. auto\w+:: (\S+)", page)}
    assert entries_of == set(mcr_bench.__all__) - {"__version__"}


def test_everything_that_is_registered_has_a_page_and_a_line_in_its_index(made: Path) -> None:
    for kind, names in registered().items():
        assert {path.stem for path in (made / kind).iterdir()} == set(names)
        index = (made / f"{kind}s.md").read_text(encoding="utf-8")
        assert [name for name in names if f"[{name}]({kind}/{name}.md)" not in index] == []
        assert entries(made / f"{kind}s.md") == {f"{kind}/*"}


def test_a_card_is_written_as_markdown(made: Path) -> None:
    page = (made / "method" / "ogm.md").read_text(encoding="utf-8")
    assert page.startswith("# ogm\n\nOGM: scale down the gradient of the encoder that is ahead.\n")
    assert "[2203.15332](https://arxiv.org/abs/2203.15332)" in page
    assert "| `ogm.alpha` | 0.8 | number \\>= 0 | strength of the modulation; 0 = none |" in page
    assert "k\\_m = 1 - tanh(alpha rho\\_m)" in page
    assert "[github.com/GeWu-Lab/OGM-GE_CVPR2022](https://github.com/GeWu-Lab/OGM-GE_CVPR2022)" in page


def test_pages_do_not_tell_of_the_machine_that_made_them(made: Path) -> None:
    texts = [path.read_text(encoding="utf-8") for path in made.rglob("*.md")]
    assert [text for text in texts if str(ROOT) in text or "is not prepared" in text] == []


def test_pages_of_what_is_gone_go_and_equal_ones_stay(card_pages: ModuleType, made: Path) -> None:
    stale, kept = made / "method" / "gone.md", made / "method" / "ogm.md"
    stale.write_text("# gone\n", encoding="utf-8")
    before = kept.stat().st_mtime_ns
    card_pages.write_pages(made)
    assert not stale.exists()
    assert kept.stat().st_mtime_ns == before


def options_of(words: list[str]) -> tuple[str, set[str]]:
    """The command that these words call, and the options that it has."""
    command: Any = typer.main.get_command(app)
    path = []
    while hasattr(command, "commands") and words and words[0] in command.commands:
        path.append(words[0])
        command, words = command.commands[words[0]], words[1:]
    return " ".join(path), {name for one in command.params for name in (*one.opts, *one.secondary_opts)}


@pytest.mark.parametrize("page", sorted({*DOCS.rglob("*.md")} - {*DOCS.rglob("made/**/*.md")}), ids=lambda p: p.stem)
def test_the_commands_of_a_page_exist_with_their_options(page: Path) -> None:
    blocks = re.findall(r"^```(?:sh|text)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    for call in CALL.findall("\n".join(blocks).replace("\\\n", " ")):
        words = shlex.split(call.partition(" > ")[0], comments=True)
        path, options = options_of(words)
        assert path, call
        unknown = (
            {word.partition("=")[0] for word in words if word.startswith("--")} - options - {"--help", "--version"}
        )
        assert not unknown, call


@pytest.mark.slow  # a minute
@pytest.mark.skipif(not all(map(find_spec, SPHINX)), reason="the extra `docs` is not installed: `make docs` does it")
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", "-d", "doctrees", str(DOCS), "site"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    index = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "https://" not in re.sub(r'<a [^>]*href="[^"]*"', "", index)  # nothing is loaded from elsewhere
    assert 'class="sig' in (tmp_path / "site" / "reference" / "interface.html").read_text(encoding="utf-8")
