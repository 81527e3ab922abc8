"""The pytest plug-in: `pytest --mcr-bench NAME` checks a method and whatever else the kits know, one test per property.

NAME is what `mcr-bench check` takes. Nothing is imported where the option is absent.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

OPTION = "mcr_bench_targets"


def pytest_addoption(parser: "pytest.Parser") -> None:
    """Declare the option."""
    parser.getgroup("mcr-bench").addoption(
        "--mcr-bench",
        dest=OPTION,
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME",
        help="check these: a name, FILE.py, FILE.py:CLASS or PACKAGE:CLASS, as `mcr-bench check` does; one test per "
        "property. Without other paths nothing else is collected.",
    )
    parser.getgroup("mcr-bench").addoption(
        "--mcr-bench-data-root",
        type=Path,
        default=Path("data"),
        metavar="FOLDER",
        help="parent folder of the prepared datasets that are checked.",
    )


def pytest_configure(config: "pytest.Config") -> None:
    """Give folders and test files that were read as names back to pytest, and collect nothing where none was given."""
    asked = config.getoption(OPTION)
    if not asked:
        return
    paths = [text for text in asked if _is_for_pytest(text)]
    config.option.mcr_bench_targets = [text for text in asked if text not in paths]
    given = config.args if config.args_source.name == "ARGS" else []
    config.args = [*given, *paths]


def _is_for_pytest(text: str) -> bool:
    path = Path(text.partition("::")[0])
    return path.is_dir() or "::" in text or (path.is_file() and path.name.startswith("test_"))


def pytest_collection_modifyitems(
    session: "pytest.Session", config: "pytest.Config", items: "list[pytest.Item]"
) -> None:
    """Add the tests of the properties."""
    targets = config.getoption(OPTION)
    if targets:
        from mcr_bench.bench.testing.items import items_of

        items[:0] = items_of(session, targets, config.getoption("mcr_bench_data_root"))
