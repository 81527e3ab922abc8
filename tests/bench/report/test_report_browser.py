"""The report in a real browser: no console message, sorting, links into folded parts, widths, print."""

import base64
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from mcr_bench.bench.analysis.table import Table
from mcr_bench.bench.report.html.page import write_report
from mcr_bench.tests.support.records.report_contents import HOSTILE, contents, picture, runs

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="chromium or chromedriver is not installed"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
)
TITLE = "toy · audio + video · protocol official · preset small"
MIXED: list[tuple[str, ...]] = [("a", "9 ± 1"), ("b", "-"), ("c", "10 ± 2"), ("d", "not run"), ("e", "-1.5*")]
COLUMN = "return [...document.querySelectorAll(arguments[0])].map(cell => cell.textContent)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("browser")
    mixed = Table("Mixed", ("method", "value"), (0, 0), list(MIXED), [])
    wide = Table("Wide", tuple(f"column{i}" for i in range(40)), (4,) * 40, [(0.5,) * 40], [])
    rows = runs(8) + runs(8, HOSTILE, dataset=HOSTILE)
    made = contents(rows, pictures=[picture(TITLE)], published=[mixed, wide])
    path = write_report(made, folder / "report.html")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    found.get(path.as_uri())
    yield found
    found.quit()


def press(browser: Any, table: str, column: int) -> str:
    """Press the head of a column; how it is sorted then."""
    head = browser.find_element("css selector", f"{table} thead th:nth-child({column})")
    browser.execute_script("arguments[0].focus()", button := head.find_element("css selector", "button"))
    button.send_keys(" ")
    return str(head.get_attribute("aria-sort"))


def test_tables_sort_by_number_and_come_back(browser: Any) -> None:
    table = "#c0 > h3 ~ .scroll:nth-of-type(1)"
    cells = f"{table} tbody td:nth-child(2)"
    first = browser.execute_script(COLUMN, cells)
    orders = [(press(browser, table, 2), browser.execute_script(COLUMN, cells)) for _ in range(3)]
    assert orders == [("ascending", sorted(first)), ("descending", sorted(first, reverse=True)), ("none", first)]
    assert first not in (sorted(first), sorted(first, reverse=True))


def test_what_is_missing_stays_last_and_words_follow_numbers(browser: Any) -> None:
    cells = "#p0 tbody td:nth-child(2)"
    orders = [(press(browser, "#p0", 2), browser.execute_script(COLUMN, cells)) for _ in range(2)]
    assert orders[0] == ("ascending", ["-1.5*", "9 ± 1", "10 ± 2", "not run", "-"])
    assert orders[1] == ("descending", ["not run", "10 ± 2", "9 ± 1", "-1.5*", "-"])


def test_a_number_opens_the_runs_behind_it(browser: Any) -> None:
    link = browser.find_element("css selector", "#c0 > .scroll tbody td a")
    target = browser.find_element("id", str(link.get_attribute("hash"))[1:])
    assert not target.is_displayed()
    browser.execute_script("arguments[0].click()", link)
    assert target.is_displayed()


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_never_scrolls_sideways(browser: Any, width: int) -> None:
    device = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", device)
    browser.execute_script("document.querySelectorAll('details').forEach(part => part.open = true)")
    root = "return document.documentElement."
    assert browser.execute_script(root + "scrollWidth") <= browser.execute_script(root + "clientWidth") <= width
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_print_opens_what_is_folded(browser: Any) -> None:
    browser.execute_script(
        "document.querySelectorAll('details').forEach(part => part.open = false);"
        "addEventListener('beforeprint', () => {"
        "  window.folded = document.querySelectorAll('details:not([open])').length; })"
    )
    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert pdf.startswith(b"%PDF")
    assert browser.execute_script("return window.folded") == 0
    assert browser.execute_script("return document.querySelectorAll('details[open]').length") == 0


def test_the_console_stays_empty_and_no_label_runs_as_a_script(browser: Any) -> None:
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.scripts.length") == 1
    assert HOSTILE in browser.execute_script("return document.querySelector('#d1 h2').textContent")
